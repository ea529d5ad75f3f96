"""Checks of a caller's arguments; where one fails, a ValueError has the name, the value and the rule."""

import math
import operator
from collections.abc import Sequence
from numbers import Real
from typing import SupportsIndex, TypeVar

T = TypeVar("T")


def whole(name: str, value: object, *, least: int) -> int:
    """`value` as an int."""
    result = as_int(value)
    if result is None or result < least:
        raise ValueError(f"{name} is {value!r}; it must be a whole number of at least {least}")
    return result


def as_int(value: object) -> int | None:
    """`value` as an int, NumPy's too; None where it is no whole number."""
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):  # a bool is an int to Python
        return None
    try:
        return operator.index(value)
    except TypeError:  # an array of several numbers, say
        return None


def at_least(name: str, value: object, low: float, *, below: float = math.inf) -> float:
    """`value` as a finite float in [low, below)."""
    number = _number(value)
    if not low <= number < below:
        raise _out_of_range(name, value, f"of at least {low:g}", below)
    return number


def above(name: str, value: object, low: float, *, at_most: float = math.inf) -> float:
    """`value` as a finite float in (low, at_most]."""
    number = _number(value)
    if not (low < number <= at_most and number < math.inf):
        raise _out_of_range(name, value, f"above {low:g}", at_most, included=True)
    return number


def one_of(name: str, value: T, allowed: Sequence[T]) -> T:
    """`value` itself."""
    if not any(isinstance(value, type(each)) and value == each for each in allowed):
        raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(map(str, allowed))}")
    return value


def _number(value: object) -> float:
    """`value` as a float, NaN where it is not a number."""
    return float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan


def _out_of_range(name: str, value: object, low: str, high: float, *, included: bool = False) -> ValueError:
    high_end = "" if high == math.inf else f" and {'at most' if included else 'below'} {high:.6g}"
    return ValueError(f"{name} is {value!r}; it must be a finite number {low}{high_end}")
