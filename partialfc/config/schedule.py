"""The section schedule: the learning rate from step to step."""

from itertools import pairwise
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from partialfc.config.section import Section

_Number = TypeVar("_Number", int, float)


def _check_list(value: object) -> object:
    if not isinstance(value, list | tuple):
        raise ValueError("must be a list such as [10, 18]")
    return value


def _check_order(milestones: tuple[_Number, ...]) -> tuple[_Number, ...]:
    if any(after <= before for before, after in pairwise(milestones)):
        raise ValueError("each must be larger than the one before")
    return milestones


_Checks = (Field(strict=False), BeforeValidator(_check_list), AfterValidator(_check_order))
_Steps = Annotated[tuple[Annotated[int, Field(strict=True, ge=1)], ...], *_Checks]
_Epochs = Annotated[tuple[Annotated[float, Field(strict=True, gt=0)], ...], *_Checks]


class ScheduleConfig(Section):
    """The learning rate over the run, as a fraction of its peak.

    Built by training/builders/schedule.py, `build_schedule`.
    """

    name: Literal["polynomial", "cosine", "constant", "step"] = Field(
        "polynomial",
        description="The shape of the decay after the warm-up; step: times gamma at every milestone.",
    )
    warmup_steps: int | None = Field(None, ge=0, description="Length of the linear warm-up in steps.")
    warmup_epochs: float | None = Field(
        None,
        ge=0,
        description="Length of the warm-up in epochs, instead of warmup_steps; with none of the three: no "
        "warm-up.",
    )
    warmup_ratio: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Length of the warm-up as a share of the run, such as 0.1, instead of the other two: it "
        "goes with train.steps and train.epochs.",
    )
    power: float = Field(2.0, gt=0, description="Power of the polynomial decay.")
    final_lr_ratio: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Learning rate at the end of the decay, as a fraction of the peak.",
    )
    milestone_steps: _Steps = Field(
        (),
        description="With name: step, the steps from which on the learning rate is multiplied by gamma, "
        "once for each.",
    )
    milestone_epochs: _Epochs = Field(
        (), description="The same in epochs, such as [10, 18, 22], instead of milestone_steps."
    )
    gamma: float = Field(0.1, gt=0, lt=1, description="With name: step, the factor of each milestone.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        lengths = {name: getattr(self, name) for name in ("warmup_steps", "warmup_epochs", "warmup_ratio")}
        given = [f"{name} {value}" for name, value in lengths.items() if value is not None]
        if len(given) > 1:
            raise ValueError(f"give at most one of {', '.join(lengths)}, got {' and '.join(given)}")
        if self.name != "polynomial" and self.power != 2.0:
            raise ValueError(f"power is {self.power}, but only name: polynomial uses it; name is {self.name}")
        if self.name in ("constant", "step") and self.final_lr_ratio != 0.0:
            raise ValueError(
                f"final_lr_ratio is {self.final_lr_ratio}, but name: {self.name} does not decay to one"
            )
        self._check_milestones()
        return self

    def _check_milestones(self) -> None:
        given = [name for name in ("milestone_steps", "milestone_epochs") if getattr(self, name)]
        if self.name == "step" and len(given) != 1:
            raise ValueError(
                "name: step needs either milestone_steps or milestone_epochs, "
                f"got {' and '.join(given) or 'neither'}"
            )
        if self.name != "step" and (given or self.gamma != 0.1):
            what = f"{given[0]} is given" if given else f"gamma is {self.gamma}"
            raise ValueError(f"{what}, but only name: step uses it; name is {self.name}")
