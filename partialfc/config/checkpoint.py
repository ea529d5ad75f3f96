"""The section checkpoint."""

from pydantic import Field

from partialfc.config.periodic import Periodic


class CheckpointConfig(Periodic):
    """When checkpoints are written, besides one at the end, and which are kept."""

    keep_last: int = Field(2, ge=1, description="How many of the newest checkpoints to keep.")
    keep_best: bool = Field(True, description="Keep the one that verifies best as well.")
    resume: str = Field(
        "auto",
        min_length=1,
        description="auto: from run.dir's latest checkpoint if there is one; never: from scratch; "
        "else the path of a checkpoint.",
    )
