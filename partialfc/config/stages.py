"""The list stages: settings that differ for a part of the run."""

import math
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from partialfc.config.section import Section
from partialfc.config.shown import shown

ENDS = ("from_step", "from_epoch", "until_step", "until_epoch")
_NUMBER = {"type": ["number", "null"]}
_RAMP = {
    "type": "object",
    "properties": {"from": {"type": "number"}, "to": {"type": "number"}},
    "required": ["from", "to"],
    "additionalProperties": False,
}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_change(value: object) -> object:
    ramp = value.keys() == {"from", "to"} and value.values() if isinstance(value, dict) else ()
    if value is None or _is_number(value) or (ramp and all(map(_is_number, ramp))):
        return value
    raise ValueError("must be a number, or {from: A, to: B} with numbers for a line" + _got(value))


def _got(value: object) -> str:
    return f", got {shown(value)}" if isinstance(value, dict) else ""  # else the message says it


Change = Annotated[Any, AfterValidator(_check_change), WithJsonSchema({"anyOf": [_NUMBER, _RAMP]})]


class StageConfig(Section):
    """A part of the run in which settings differ from the config's.

    Besides the keys below a stage has those of the settings, written with dots as on the command line:
    head.sample_rate, head.interclass_filter, every number of head.margin, and losses.NAME.weight. A number
    holds in the whole stage; {from: A, to: B} is a line from A in its first step to B in the first step after
    it. Outside of stages a setting is what the config says elsewhere. Stages may overlap unless they change
    the same setting.

    Built by training/builders/stages.py, `build_stages`.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Change]

    from_step: int | None = Field(None, ge=0, description="Steps before the stage begins.")
    from_epoch: float | None = Field(
        None,
        ge=0,
        description="Epochs before it begins, instead of from_step; without either it begins with the run.",
    )
    until_step: int | None = Field(None, gt=0, description="Steps before the stage is over.")
    until_epoch: float | None = Field(
        None,
        gt=0,
        description="Epochs before it is over, instead of until_step; without either it ends with the run.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = [name for name in ENDS if getattr(self, name) is not None]
        if len({name.rpartition("_")[2] for name in given}) > 1:
            raise ValueError(f"must count in steps or in epochs, got {' and '.join(given)}")
        if not given:
            raise ValueError(
                "must have a begin or an end (from_step, from_epoch, until_step or until_epoch); what holds "
                "in the whole run is no stage"
            )
        if self.until is not None and self.until <= self.start:
            raise ValueError(f"must begin before it ends, got from {self.start:g} until {self.until:g}")
        if not self.changes:
            raise ValueError("changes no setting; name one, such as head.sample_rate: 0.1")
        return self

    @property
    def unit(self) -> str:
        """step or epoch."""
        return "step" if self.from_step is not None or self.until_step is not None else "epoch"

    @property
    def start(self) -> float:
        """In steps or epochs."""
        begin: float | None = getattr(self, f"from_{self.unit}")
        return begin or 0

    @property
    def until(self) -> float | None:
        """In steps or epochs; None where it ends with the run."""
        end: float | None = getattr(self, f"until_{self.unit}")
        return end

    @property
    def changes(self) -> dict[str, Any]:
        """By key, the number that holds, None, or {"from": A, "to": B}."""
        return dict(self.model_extra or {})


def _check_list(value: object) -> object:
    if not isinstance(value, list | tuple):
        raise ValueError("must be a list such as [{from_epoch: 20, head.sample_rate: 1.0}]")
    return tuple(value)


def _check_unit(stages: tuple[StageConfig, ...]) -> tuple[StageConfig, ...]:
    if len({stage.unit for stage in stages}) > 1:
        raise ValueError("must all count in steps or all in epochs; some do this and some that")
    return stages


StageConfigs = Annotated[tuple[StageConfig, ...], BeforeValidator(_check_list), AfterValidator(_check_unit)]
