"""The section run."""

from pydantic import Field

from partialfc.config.section import ConfigPath, Section


class RunConfig(Section):
    """The run itself."""

    dir: ConfigPath = Field(description="Folder for checkpoints, logs and the resolved config.")
    seed: int = Field(
        0, ge=0, lt=2**63, description="Seed of everything random: weights, sampling, data order."
    )
