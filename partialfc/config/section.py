"""What the sections of the config are made of."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Section(BaseModel):
    """Frozen and strict: no conversions, no unknown keys, no numbers that are not finite."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


def default_variant(name: str) -> BeforeValidator:
    """In a section that has variants, a mapping without `name` is taken for the variant `name`."""
    return BeforeValidator(lambda value: {"name": name} | value if isinstance(value, dict) else value)


def _check_path(value: object) -> object:
    if isinstance(value, str) and (not value or value.startswith("~")):
        raise ValueError("must be a path, not empty and without the '~' that only shells expand")
    return value


ConfigPath = Annotated[Path, Field(strict=False), BeforeValidator(_check_path)]
