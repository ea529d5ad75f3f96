"""What the sections of the config are made of."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Section(BaseModel):
    """Frozen and strict: no conversions, no unknown keys, no numbers that are not finite."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class RuleError(ValueError):
    """A rule between keys of different sections that is broken.

    key: the one that the message is about, with dots. rule: what it must be. others: the keys with which that
    goes, any of which may have been given wrongly instead.
    """

    def __init__(self, key: str, rule: str, *others: str) -> None:
        super().__init__(f"{key}: {rule}")
        self.key, self.rule, self.others = key, rule, others


def default_variant(name: str) -> BeforeValidator:
    """In a section that has variants, a mapping without `name` is taken for the variant `name`."""
    return BeforeValidator(lambda value: {"name": name} | value if isinstance(value, dict) else value)


def _check_path(value: object) -> object:
    if isinstance(value, str) and (not value or value.startswith("~")):
        raise ValueError("must be a path, not empty and without the '~' that only shells expand")
    return value


ConfigPath = Annotated[Path, Field(strict=False), BeforeValidator(_check_path)]
