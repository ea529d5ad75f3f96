"""Quantities as people write them: 80GB, 80GiB, 100GB/s, 400Gbit/s, 400TFLOPS, 10M, 10_000_000.

Sizes and rates need a unit: "80" might be bytes or gigabytes, and a wrong guess is a wrong plan.
"""

import math
import re
from collections.abc import Callable

from pydantic import ByteSize, TypeAdapter

from partialfc.errors import ConfigError

NUMBER = r"(?P<number>(?:\d{1,3}(?:,\d{3})+|\d[\d_]*)(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*"
PREFIX = r"(?P<prefix>(?:[kmgtpKMGTP]i?)?)"
COUNT = re.compile(NUMBER + r"(?P<prefix>[kmbKMB]?)")
BYTES = re.compile(NUMBER + PREFIX + r"[bB]?")
BYTES_PER_SECOND = re.compile(NUMBER + PREFIX + r"(?P<unit>B|bit|)(?:/s|ps|)")
FLOPS = re.compile(NUMBER + r"(?P<prefix>[kmgtp]?)(?:flops?)?(?:/s)?", re.IGNORECASE)
PLAIN = re.compile(NUMBER + r"(?P<prefix>)(?:/s)?")
COUNTS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}
BYTE_SIZE = TypeAdapter(ByteSize)
MOST = 10**12  # the largest count
LARGE = 1e6  # a number without a unit: from here on, bytes are proposed, below that GB


def whole_number(field: str, text: str) -> int:
    """A count from 1 to `MOST`: 512, 10_000_000, 10,000,000, 10M, 1e7."""
    value = _value(COUNT.fullmatch(text), lambda prefix: COUNTS[prefix.lower()])
    if value is None or not 1 <= value <= MOST or value != int(value):
        raise _error(field, text, f"a whole number from 1 to {MOST:,}, such as 512, 10_000_000 or 10M")
    return int(value)


def size_in_bytes(field: str, text: str, *, least: int = 1) -> int:
    """A size of at least so many bytes: 80GB (10^9), 80GiB (2^30)."""
    _check_unit(field, text, "B", ("GB", "GiB"))
    value = _value(BYTES.fullmatch(text), _factor)
    if value is None or value < least:
        raise _error(field, text, f"a size of at least {show_bytes(least)}, such as 80GB or 80GiB")
    return int(value)


def bytes_per_second(field: str, text: str) -> float:
    """A bandwidth: 100GB/s, 3.35TB/s, 400Gbit/s."""
    _check_unit(field, text, "B/s", ("GB/s", "Gbit/s"))
    match = BYTES_PER_SECOND.fullmatch(text)
    value = _value(match, _factor)
    if match is None or value is None or value <= 0:
        raise _error(field, text, "a bandwidth above 0 such as 100GB/s or 400Gbit/s")
    return value / 8 if match["unit"] == "bit" else value


def flops_per_second(field: str, text: str) -> float:
    """A rate of floating-point operations: 400TFLOPS, 0.4PFLOP/s."""
    _check_unit(field, text, "FLOPS", ("GFLOPS", "TFLOPS"))
    value = _value(FLOPS.fullmatch(text), _factor)
    if value is None or value <= 0:
        raise _error(field, text, "a rate above 0 such as 400TFLOPS")
    return value


def show_bytes(count: float) -> str:
    """In decimal units, with three or four figures: 5.12 GB."""
    return _show(count, ("B", "kB", "MB", "GB", "TB", "PB"))


def show_flops(rate: float) -> str:
    return _show(rate, ("", "k", "M", "G", "T", "P"))


def show_seconds(seconds: float) -> str:
    for factor, unit in ((1.0, "s"), (1e3, "ms")):
        if seconds * factor >= 1.0:
            return f"{_figures(seconds * factor)} {unit}"
    return f"{_figures(seconds * 1e6)} µs"


def _show(value: float, units: tuple[str, ...]) -> str:
    index = 0
    while abs(value) >= 999.5 and index < len(units) - 1:
        value, index = value / 1000, index + 1
    figures = f"{value:.0f}" if index == 0 else _figures(value)
    return f"{figures} {units[index]}".rstrip()


def _figures(value: float) -> str:
    """Three figures, or all before the point."""
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}" if value else "0"


def _factor(prefix: str) -> int:
    """What a prefix stands for: 10^9 for G, 2^30 for Gi."""
    return BYTE_SIZE.validate_python(f"1{prefix}B")


def _value(match: re.Match[str] | None, factor: Callable[[str], int]) -> float | None:
    """Exact for whole numbers, which may be larger than a float holds exactly; ByteSize itself is not."""
    if match is None:
        return None
    number = re.sub("[_,]", "", match["number"])
    value = float(number) * factor(match["prefix"])
    if not math.isfinite(value):
        return None
    return int(number) * factor(match["prefix"]) if number.isdigit() else value


def _check_unit(field: str, text: str, plain: str, usual: tuple[str, ...]) -> None:
    match = PLAIN.fullmatch(text)
    value = _value(match, _factor)
    if match and value:
        number = match["number"]
        meant = " or ".join(number + unit for unit in ((plain,) if value >= LARGE else usual))
        raise ConfigError(f"{field} is {text!r}: {number} what? It must have a unit, such as {meant}")


def _error(field: str, text: str, rule: str) -> ConfigError:
    return ConfigError(f"{field} is {text!r}; it must be {rule}")
