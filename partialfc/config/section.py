"""What the sections of the config are made of."""

from pathlib import Path
from typing import Annotated

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
)

LARGEST_WEIGHT = 1e9  # of a loss: far above any that trains, and far below where float32 ends


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


def _check_places(value: object) -> object:
    if isinstance(value, list | tuple):
        if not value:
            raise ValueError("must name at least one source")
        return tuple(map(_check_place, value))
    return _check_place(value)


def _check_place(value: object) -> Path | str:
    """A URL stays text, as a path would lose one of its slashes."""
    if not isinstance(value, str | Path):
        raise ValueError("must be a path, a URL or a list of them")
    _check_path(value)
    return value if isinstance(value, Path) or "://" in value else Path(value)


def _written(places: object) -> str | list[str]:
    return [str(place) for place in places] if isinstance(places, tuple) else str(places)


_PLACE = {"type": "string", "format": "path"}
Place = Path | str  # a str is a URL
Places = Annotated[
    Place | tuple[Place, ...],
    PlainValidator(_check_places),
    PlainSerializer(_written, when_used="json"),
    WithJsonSchema({"anyOf": [_PLACE, {"type": "array", "items": _PLACE, "minItems": 1}]}),
]
ConfigPath = Annotated[Path, Field(strict=False), BeforeValidator(_check_path)]
