"""The counts in a checkpoint's state.json."""

from collections.abc import Mapping
from typing import Any


def count(values: Mapping[str, Any], name: str) -> int:
    """What `name` is in the values. ValueError where it is no whole number that torch can count with."""
    value = values[name]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise ValueError(f"{name} is {value!r}")
    return value
