"""The section checkpoint: when one is written, which are kept, and which one a run starts from."""

from pydantic import Field

from partialfc.config.periodic import Periodic


class CheckpointConfig(Periodic):
    """When checkpoints are written, and which are kept. One is always written at the end.

    Used by training/saving.py, `RunCheckpoints`.
    """

    keep_last: int = Field(
        2, ge=1, description="How many of the newest checkpoints that led to the latest one to keep."
    )
    keep_best: bool = Field(True, description="Keep the checkpoint with the best verification as well.")
    resume: str = Field(
        "auto",
        min_length=1,
        description="Where to start. auto: from the latest checkpoint in run.dir, if there is one; never: "
        "from scratch; anything else is the path of a checkpoint, or of a run and its newest: the run "
        "begins from there once, and goes on from its own when the same command is started again.",
    )
