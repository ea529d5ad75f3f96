"""The settings that `stages` change of a head."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from partialfc.head.margins.base import Margin
from partialfc.head.partial_fc import PartialFC
from partialfc.training.stages import Value

MARGIN = "head.margin."
HEAD = ("sample_rate", "interclass_filter")  # further keys of the section head

MarginOf = Callable[[Mapping[str, Value]], Margin]  # from values by key, of the config's margin and others


def reconfigure(
    head: PartialFC,
    margin_of: MarginOf,
    values: Mapping[str, Value],
    *,
    changed: Collection[str],
    settled: bool,
) -> None:
    """Give the head those of the values, by key, that are among the changed. settled: as for the head."""
    arguments: dict[str, Any] = {name: values[f"head.{name}"] for name in HEAD if f"head.{name}" in changed}
    if any(key.startswith(MARGIN) for key in changed):
        arguments["margin"] = margin_of(values)
    if arguments:
        head.reconfigure(**arguments, settled=settled)
