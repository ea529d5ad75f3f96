"""The section run: where a run is kept, and its seed."""

from pydantic import Field

from partialfc.config.section import ConfigPath, Section


class RunConfig(Section):
    """The run itself.

    Used by training/run_folder.py, `make_run_dir`, and by everything that draws at random.
    """

    dir: ConfigPath = Field(description="Folder for checkpoints, logs and the resolved config.")
    seed: int = Field(
        0, ge=0, lt=2**63, description="Seed of everything random: weights, sampling, data order."
    )
