"""The section train."""

from typing import Literal, Self

from pydantic import Field, model_validator

from partialfc.config.section import Section


class TrainConfig(Section):
    """The training loop."""

    batch_size: int = Field(ge=1, description="Samples per micro-batch over all ranks together.")
    epochs: float | None = Field(None, gt=0, description="Length in passes over the data; or give steps.")
    steps: int | None = Field(None, ge=1, description="Length in optimizer steps; or give epochs.")
    accumulation: int = Field(1, ge=1, description="Micro-batches per optimizer step.")
    clip_norm: float | None = Field(
        5.0, gt=0, description="Largest norm of the backbone's gradient; null does not clip."
    )
    amp: Literal["auto", "bfloat16"] | None = Field(
        None,
        description="Autocast the backbone to this type; auto: to bfloat16 where the device multiplies in it "
        "natively; null: no autocast.",
    )
    threads: int | None = Field(
        None, ge=1, description="Torch CPU threads per process; null: torch's own choice."
    )
    log_every: int = Field(20, ge=1, description="Optimizer steps between log lines.")
    max_nonfinite_steps: int = Field(
        10, ge=1, description="Steps in a row with a non-finite loss or gradient, skipped, that end the run."
    )
    deterministic: bool = Field(False, description="Let torch use deterministic algorithms only.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: cuda where there is one.")
    timeout_seconds: float = Field(
        600.0, gt=0, description="Seconds that a collective waits for the slowest rank before it fails."
    )
    tensorboard: bool = Field(False, description="Write TensorBoard event files into run.dir.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            got = "neither" if self.epochs is None else f"epochs {self.epochs} and steps {self.steps}"
            raise ValueError(f"give exactly one of epochs and steps, null for the other, got {got}")
        return self

    @property
    def samples_per_step(self) -> int:
        """Samples per optimizer step over all ranks."""
        return self.batch_size * self.accumulation
