"""What the sections checkpoint and verification share: how often it is their turn."""

from typing import Self

from pydantic import Field, model_validator

from partialfc.config.section import Section


class Periodic(Section):
    every_steps: int | None = Field(
        None,
        ge=1,
        description="Optimizer steps from one to the next. With neither every_steps nor every_epochs: "
        "after each epoch.",
    )
    every_epochs: float | None = Field(
        None,
        gt=0,
        description="Epochs from one to the next. With neither every_steps nor every_epochs: after each "
        "epoch.",
    )

    @model_validator(mode="after")
    def _check_period(self) -> Self:
        if self.every_steps is not None and self.every_epochs is not None:
            raise ValueError(
                "give at most one of every_steps and every_epochs, "
                f"got {self.every_steps} and {self.every_epochs}"
            )
        return self
