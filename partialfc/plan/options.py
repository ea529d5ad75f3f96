"""The options of a plan that are quantities: from text with units to numbers."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from partialfc.errors import ConfigError
from partialfc.plan import units

QUANTITIES: dict[str, Callable[[str, str], float]] = {
    "classes": units.whole_number,
    "embedding": units.whole_number,
    "gpus": units.whole_number,
    "gpus_per_node": units.whole_number,
    "batch": units.whole_number,
    "memory": units.size_in_bytes,
    "reserve": partial(units.size_in_bytes, least=0),
    "gemm_rate": units.flops_per_second,
    "memory_bandwidth": units.bytes_per_second,
    "bandwidth": units.bytes_per_second,
}


def read_quantities(texts: Mapping[str, str | None]) -> tuple[dict[str, Any], list[str]]:
    """The number of each option, None where its text is None, and a line for each text that is wrong.

    A wrong text counts as 1, so that whatever else is wrong with the plan can be found as well.
    """
    numbers: dict[str, Any] = {}
    problems = []
    for name, read in QUANTITIES.items():
        text = texts[name]
        try:
            numbers[name] = None if text is None else read(option(name), text)
        except ConfigError as error:
            numbers[name] = 1
            problems.append(str(error))
    return numbers, problems


def option(name: str) -> str:
    """The option of the command for a field of a plan: --sample-rate for sample_rate."""
    return f"--{name.replace('_', '-')}"
