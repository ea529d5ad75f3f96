"""Quantities as people write them: 80GB, 80GiB, 100GB/s, 400Gbit/s, 400TFLOPS, 10M, 10_000_000.

Sizes and rates need a unit: "80" might be bytes or gigabytes, and a wrong guess is a wrong plan.
"""

import math
import re
from collections.abc import Callable
from typing import TypeVar

from partialfc.errors import ConfigError

T = TypeVar("T")

DECIMAL = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "p": 10**15}
BINARY = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40, "pi": 2**50}
COUNTS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}

NUMBER = r"(?P<number>(?:\d{1,3}(?:,\d{3})+|\d[\d_]*)(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*"
BYTES = re.compile(NUMBER + r"(?P<prefix>[kmgtpKMGTP]?i?)[bB]?")
BYTES_PER_SECOND = re.compile(NUMBER + r"(?P<prefix>[kmgtpKMGTP]?i?)(?P<unit>B|bit|)(?:/s|ps|)")
FLOPS = re.compile(NUMBER + r"(?P<prefix>[kmgtpKMGTP]?)(?:flops?)?(?:/s)?", re.IGNORECASE)
COUNT = re.compile(NUMBER + r"(?P<prefix>[kmbKMB]?)")
PLAIN = re.compile(NUMBER + "(?P<prefix>)(?:/s)?")
MOST = 10**12  # of anything that is counted
LARGE = 1e6  # from here on, the unit proposed for a number without one is the plain one


def maybe(parse: Callable[[str, str], T], field: str, text: str | None) -> T | None:
    return None if text is None else parse(field, text)


def whole_number(field: str, text: str) -> int:
    """A count from 1 to `MOST`: 512, 10_000_000, 10,000,000, 10M, 1e7."""
    value = _value(COUNT.fullmatch(text), COUNTS)
    if value is None or not 1 <= value <= MOST or value != int(value):
        raise _error(field, text, f"a whole number from 1 to {MOST:,}, such as 512, 10_000_000 or 10M")
    return int(value)


def size_in_bytes(field: str, text: str, *, least: int = 1) -> int:
    """A size of at least so many bytes: 80GB (10^9), 80GiB (2^30)."""
    _check_unit(field, text, "B", ("GB", "GiB"))
    value = _value(BYTES.fullmatch(text), DECIMAL | BINARY)
    if value is None or value < least:
        raise _error(field, text, f"a size of at least {show_bytes(least)}, such as 80GB or 80GiB")
    return int(value)


def bytes_per_second(field: str, text: str) -> float:
    """A bandwidth: 100GB/s, 3.35TB/s, 400Gbit/s."""
    _check_unit(field, text, "B/s", ("GB/s", "Gbit/s"))
    match = BYTES_PER_SECOND.fullmatch(text)
    value = _value(match, DECIMAL | BINARY)
    if match is None or value is None or value <= 0:
        raise _error(field, text, "a bandwidth above 0 such as 100GB/s or 400Gbit/s")
    return value / 8 if match["unit"] == "bit" else value


def flops_per_second(field: str, text: str) -> float:
    """A rate of floating-point operations: 400TFLOPS, 0.4PFLOP/s."""
    _check_unit(field, text, "FLOPS", ("GFLOPS", "TFLOPS"))
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
    number = match["number"].replace("_", "").replace(",", "")
    value = float(number) * factor
    if not math.isfinite(value):
        return None
    return int(number) * factor if number.isdigit() else value


def _check_unit(field: str, text: str, plain: str, usual: tuple[str, ...]) -> None:
    match = PLAIN.fullmatch(text)
    value = _value(match, {"": 1})
    if match and value:
        number = match["number"]
        meant = " or ".join(number + unit for unit in ((plain,) if value >= LARGE else usual))
        raise ConfigError(f"{field} is {text!r}: {number} what? It must have a unit, such as {meant}")


def _error(field: str, text: str, rule: str) -> ConfigError:
    return ConfigError(f"{field} is {text!r}; it must be {rule}")
