"""Quantities as people write them: 80GB, 80GiB, 24_000_000_000, 100GB/s, 400TFLOPS, 10M."""

import math
import re
from collections.abc import Callable
from typing import TypeVar

from partialfc.errors import ConfigError

T = TypeVar("T")

DECIMAL = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "p": 10**15}
BINARY = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40, "pi": 2**50}
COUNTS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}

NUMBER = r"(?P<number>\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*"
BYTES = re.compile(NUMBER + r"(?P<prefix>[kmgtpKMGTP]?i?)[bB]?")
BYTES_PER_SECOND = re.compile(NUMBER + r"(?P<prefix>[kmgtpKMGTP]?i?)(?P<unit>B|bit|)(?:/s|ps|)")
FLOPS = re.compile(NUMBER + r"(?P<prefix>[kmgtpKMGTP]?)(?:flops?)?(?:/s)?", re.IGNORECASE)
COUNT = re.compile(NUMBER + r"(?P<prefix>[kmbKMB]?)")


def maybe(parse: Callable[[str, str], T], field: str, text: str | None) -> T | None:
    return None if text is None else parse(field, text)


def whole_number(field: str, text: str) -> int:
    """A count of at least 1: 512, 10_000_000, 10M, 1e7."""
    value = _value(COUNT.fullmatch(text), COUNTS)
    if value is None or value < 1 or value != int(value):
        raise _error(field, text, "a whole number of at least 1, such as 512, 10_000_000 or 10M")
    return int(value)


def size_in_bytes(field: str, text: str) -> int:
    """A size: 80GB (10^9), 80GiB (2^30), or a plain number of bytes."""
    value = _value(BYTES.fullmatch(text), DECIMAL | BINARY)
    if value is None or value < 1:
        raise _error(field, text, "a size such as 80GB, 80GiB or 80_000_000_000 (bytes)")
    return int(value)


def bytes_per_second(field: str, text: str) -> float:
    """A bandwidth: 100GB/s, 3.35TB/s, 400Gbit/s, or a plain number of bytes a second."""
    match = BYTES_PER_SECOND.fullmatch(text)
    value = _value(match, DECIMAL | BINARY)
    if match is None or value is None or value <= 0:
        raise _error(field, text, "a bandwidth above 0 such as 100GB/s or 400Gbit/s")
    return value / 8 if match["unit"] == "bit" else value


def flops_per_second(field: str, text: str) -> float:
    """A rate of floating-point operations: 400TFLOPS, 0.4PFLOP/s, 4e14."""
    value = _value(FLOPS.fullmatch(text), DECIMAL)
    if value is None or value <= 0:
        raise _error(field, text, "a rate above 0 such as 400TFLOPS")
    return value


def show_bytes(count: float) -> str:
    """Decimal units, three or four figures: 5.12 GB."""
    return _show(count, 1000, ("B", "kB", "MB", "GB", "TB", "PB"))


def show_flops(rate: float) -> str:
    return _show(rate, 1000, ("", "k", "M", "G", "T", "P"))


def show_seconds(seconds: float) -> str:
    for factor, unit in ((1.0, "s"), (1e3, "ms")):
        if seconds * factor >= 1.0:
            return f"{_figures(seconds * factor)} {unit}"
    return f"{_figures(seconds * 1e6)} µs"


def _show(value: float, step: int, units: tuple[str, ...]) -> str:
    index = 0
    while abs(value) >= 999.5 and index < len(units) - 1:
        value, index = value / step, index + 1
    figures = f"{value:.0f}" if index == 0 else _figures(value)
    return f"{figures} {units[index]}".rstrip()


def _figures(value: float) -> str:
    """Three figures, or all before the point."""
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}" if value else "0"


def _value(match: re.Match[str] | None, factors: dict[str, int]) -> float | None:
    """Exact for whole numbers, which may be larger than a float holds exactly."""
    if match is None:
        return None
    factor = factors.get(match["prefix"].lower())
    if factor is None:
        return None
    number = match["number"].replace("_", "")
    if number.isdigit():
        return int(number) * factor
    value = float(number) * factor
    return value if math.isfinite(value) else None


def _error(field: str, text: str, rule: str) -> ConfigError:
    return ConfigError(f"{field} is {text!r}; it must be {rule}")
