"""The section schedule: the learning rate from step to step."""

from typing import Literal, Self

from pydantic import Field, model_validator

from partialfc.config.section import Section


class ScheduleConfig(Section):
    """The learning rate over the run, as a fraction of its peak.

    Built by training/builders/schedule.py, `build_schedule`.
    """

    name: Literal["polynomial", "cosine", "constant"] = Field(
        "polynomial", description="The shape of the decay after the warm-up."
    )
    warmup_steps: int | None = Field(None, ge=0, description="Length of the linear warm-up in steps.")
    warmup_epochs: float | None = Field(
        None,
        ge=0,
        description="Length of the warm-up in epochs, instead of warmup_steps; without either: no warm-up.",
    )
    power: float = Field(2.0, gt=0, description="Power of the polynomial decay.")
    final_lr_ratio: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Learning rate at the end of the decay, as a fraction of the peak.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.warmup_steps is not None and self.warmup_epochs is not None:
            raise ValueError(
                "give at most one of warmup_steps and warmup_epochs, "
                f"got {self.warmup_steps} and {self.warmup_epochs}"
            )
        if self.name != "polynomial" and self.power != 2.0:
            raise ValueError(f"power is {self.power}, but only name: polynomial uses it; name is {self.name}")
        if self.name == "constant" and self.final_lr_ratio != 0.0:
            raise ValueError(f"final_lr_ratio is {self.final_lr_ratio}, but name: constant does not decay")
        return self
