"""The picture of what runs did to angles, from the records of their logs: a column for each run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from partialfc.errors import DataError, printable
from partialfc.metrics.run_log import METRICS
from partialfc.report.figure import empty_figure, save_picture
from partialfc.report.run_records import records_of

MOMENTS = ("start", "middle", "end")
KINDS = {"target": ("own centre", "C0"), "nearest_negative": ("nearest other centre", "C3")}
LARGEST = 120  # degrees that are shown
Record = dict[str, Any]


def draw_angles(runs: Sequence[Path], output: Path) -> Path:
    """Write the PNG `output`, which is returned.

    Raises DataError where a run has no angles in its log, ConfigError where the picture cannot be written,
    MissingExtraError without matplotlib.
    """
    figure = empty_figure(width=4.5 * max(len({*runs}), 2), height=10)
    found = {run: moments(_records(run)) for run in runs}
    grid = figure.subplots(len(MOMENTS) + 1, len(found), sharex=True, squeeze=False)
    for column, (run, records) in zip(grid.T, found.items(), strict=True):
        for moment, axes in zip(MOMENTS, column, strict=False):
            _draw_moment(axes, moment, records.get(moment))
        column[0].set_title(f"{_shown(run)}\n{column[0].get_title()}")
        _draw_centres(column[-1], records)
        column[-1].set_xlabel("degrees")
    for axes in grid[:, 0]:
        axes.set_ylabel("share")
    return save_picture(figure, output)


def _records(run: Path) -> list[Record]:
    found = records_of(run, "angles", needed=False)
    if not found:
        raise DataError(
            f"{run / METRICS} has no angles. A run with centres (head.name: partial_fc, and an objective "
            "with a head) records them after its first step, and wherever it verifies; one without has none "
            "to show. A run of an older version records them when it goes on for more steps"
        )
    return found


def moments(records: Sequence[Record]) -> dict[str, Record]:
    """The first record, the last, and the one nearest to half-way between them; fewer of fewer records."""
    first, last = records[0], records[-1]
    found = {"start": first}
    if between := [record for record in records if first["step"] < record["step"] < last["step"]]:
        middle = (first["step"] + last["step"]) / 2
        found["middle"] = min(between, key=lambda record: abs(record["step"] - middle))
    if last["step"] > first["step"]:
        found["end"] = last
    return found


def shares(histogram: Sequence[float]) -> tuple[Any, Any]:
    """Counts [n] of equal parts of 180 degrees -> the share of each [n], and their edges [n + 1]."""
    counts = np.asarray(histogram, dtype=float)
    return counts / max(counts.sum(), 1.0), np.linspace(0.0, 180.0, len(counts) + 1)


def _draw_moment(axes: Any, moment: str, record: Record | None) -> None:
    axes.set_title(moment if record is None else f"{moment}: step {record['step']:,}")
    axes.set_xlim(0, LARGEST)
    if record is None:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center")
        return
    for kind, (words, colour) in KINDS.items():
        label = f"{words}, mean {_degrees(record[f'{kind}_degrees'])}"
        _draw_histogram(axes, record[f"{kind}_histogram"], color=colour, label=label)
    _add_legend(axes)


def _draw_centres(axes: Any, records: dict[str, Record]) -> None:
    """From a centre to the nearest other one."""
    for (moment, record), colour in zip(records.items(), ("0.7", "C1", "C2"), strict=False):
        mean, least = (_degrees(record[f"nearest_centre_{value}"]) for value in ("degrees", "smallest"))
        label = f"{moment}: mean {mean}, least {least}"
        _draw_histogram(axes, record["nearest_centre_histogram"], color=colour, label=label)
    axes.set_title("between a centre and the nearest other one")
    _add_legend(axes)


def _add_legend(axes: Any) -> None:
    """In a corner above all that is drawn."""
    axes.margins(y=0.6)
    axes.set_ylim(bottom=0)
    axes.legend(fontsize="small", loc="upper right")


def _draw_histogram(axes: Any, histogram: Sequence[float], **style: Any) -> None:
    heights, edges = shares(histogram)
    if len(heights):
        axes.stairs(heights, edges, fill=True, alpha=0.5, **style)


def _degrees(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f}\N{DEGREE SIGN}"


def _shown(run: Path) -> str:
    """A folder's name, between two $ of which there is no mathematics."""
    return printable(run.resolve().name).replace("$", r"\$")
