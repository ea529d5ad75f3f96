"""The stages of a run: when each began and ended, and what it set."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from partialfc.report.page import Html, table
from partialfc.report.run_page.chart import Axis, Chart, Series
from partialfc.report.run_page.curves import STEP, by_step
from partialfc.report.run_page.runs import Run


def stage_blocks(run: Run) -> list[Html]:
    """A row for each stage that began; nothing of a run without stages."""
    rows = []
    records = run.log.events["stage"]
    for record in records:
        if record.get("begins") is not True:
            continue
        over = next(
            (
                str(each["step"] - 1)
                for each in records
                if each.get("stage") == record.get("stage") and each.get("begins") is False
            ),
            "the end",
        )
        rows.append(
            [f"stage {record.get('stage')}", str(record["step"]), over, _settings(record.get("settings"))]
        )
    return [table(["", "first step", "last step", "settings from then on"], rows)] if rows else []


def _settings(values: Any) -> str:
    if not isinstance(values, Mapping):
        return ""
    return ", ".join(f"{key} {'null' if value is None else value}" for key, value in values.items())


def setting_charts(runs: Sequence[Run]) -> list[Chart]:
    """Each setting that stages change, as the log lines have it."""
    keys = list(
        dict.fromkeys(
            key
            for run in runs
            for record in run.log.events["stage"]
            if isinstance(record.get("settings"), Mapping)
            for key in record["settings"]
        )
    )[:8]
    found = []
    for number, key in enumerate(keys):
        series = [
            Series(
                run.name,
                *by_step(run.log.column("step"), run.log.column(key)),
                colour=place,
                run=place if len(runs) > 1 else None,
            )
            for place, run in enumerate(runs)
        ]
        series = [each for each in series if np.isfinite(each.y).any()]
        found.append(Chart(f"setting-{number}", key, STEP, Axis(key), series))
    return found
