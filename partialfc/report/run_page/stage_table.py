"""The stages of a run: when each began and ended, and what it set."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from partialfc.report.page import Html, table
from partialfc.report.run_page.chart import Axis, Chart
from partialfc.report.run_page.curves import STEP, by_step, lines
from partialfc.report.run_page.quantiles import Floats
from partialfc.report.run_page.runs import Run

SETTINGS = ("head.", "losses.")  # what columns of settings begin with
MOST = 8  # charts of settings
CHANGED = "changed by a resume"


@dataclass
class _Stay:
    """A stage while it lasted: its first and its last step, None where the log does not tell them.

    changed: it lasts, but the run was resumed with other stages, by which it began anew.
    """

    stage: str
    first: int | None
    last: int | None = None
    settings: Any = None
    changed: bool = False


def stage_blocks(run: Run) -> list[Html]:
    """A row for each time that a stage lasted; nothing of a run whose log has no stage."""
    begin, end = run.log.column("step")[[0, -1]]
    rows = [
        [f"stage {each.stage}", _first(each, begin), _last(each, end), _settings(each.settings)]
        for each in _stays(run.log.events["stage"])
    ]
    return [table(["", "first step", "last step", "settings in the first step"], rows)] if rows else []


def _stays(records: Sequence[Mapping[str, Any]]) -> list[_Stay]:
    """In the order of the log. No record tells that a stage lasts where a run goes on: from the checkpoint of
    another run, or with stages that were changed.
    """
    found: list[_Stay] = []
    lasting: dict[str, _Stay] = {}
    for record in records:
        stage, begins, step = str(record.get("stage")), record.get("begins"), record["step"]
        now = lasting.get(stage)
        if begins is True and (now is None or now.first != step):
            if now is not None:
                now.changed = True
            lasting[stage] = _Stay(stage, step, settings=record.get("settings"))
            found.append(lasting[stage])
        elif begins is False and now is not None:
            lasting.pop(stage).last = step - 1
        elif begins is False:
            found.append(_Stay(stage, None, step - 1))
    return found


def _first(stay: _Stay, begin: float) -> str:
    """begin: the first step of the log, later than 1 where the run goes on from another one."""
    if stay.first is not None:
        return f"{stay.first:,}"
    return f"before step {begin:,.0f}" if begin > 1 else CHANGED


def _last(stay: _Stay, end: float) -> str:
    """end: the last step of the log."""
    if stay.last is not None:
        return f"{stay.last:,}"
    return CHANGED if stay.changed else f"not over at {end:,.0f}"


def _settings(values: Any) -> str:
    if not isinstance(values, Mapping):
        return ""
    return ", ".join(f"{key} {_shown(value)}" for key, value in values.items())


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    return f"{value:.6g}" if isinstance(value, int | float) else str(value)


def setting_charts(runs: Sequence[Run]) -> list[Chart]:
    """Each setting that stages change: as the log lines have it, and where a stage begins or is over."""
    keys = list(dict.fromkeys(key for run in runs for key in _keys(run)))[:MOST]
    return [
        Chart(f"setting-{number}", key, STEP, Axis(key), lines(runs, partial(_values, key=key)))
        for number, key in enumerate(keys)
    ]


def _keys(run: Run) -> Iterator[str]:
    for record in run.log.events["stage"]:
        if isinstance(record.get("settings"), Mapping):
            yield from record["settings"]
    yield from (name for name in run.log.columns if name.startswith(SETTINGS))


def _values(run: Run, key: str) -> tuple[Floats, Floats]:
    """A setting over the steps. One that stays the same until a stage changes it jumps there, at its step."""
    told = [
        (float(record["step"]), float(record["settings"][key]))
        for record in run.log.events["stage"]
        if isinstance(record.get("settings"), Mapping) and _is_number(record["settings"].get(key))
    ]
    steps, values = by_step(
        np.concatenate([run.log.column("step"), [step for step, _ in told]]),
        np.concatenate([run.log.column(key), [value for _, value in told]]),
    )
    steps, first = np.unique(steps, return_index=True)
    values = values[first]
    starts = {step for step, _ in told}
    jumps = [
        (steps[at] - 1, values[at - 1])
        for at in range(1, len(steps))
        if steps[at] in starts
        and steps[at - 1] < steps[at] - 1
        and (at == 1 or values[at - 2] == values[at - 1] != values[at])
    ]
    return by_step(
        np.concatenate([steps, [step for step, _ in jumps]]),
        np.concatenate([values, [value for _, value in jumps]]),
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
