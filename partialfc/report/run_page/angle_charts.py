"""The angles that a run learns, through training."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from partialfc.report.run_page.chart import Axis, Chart, Series
from partialfc.report.run_page.curves import STEP, by_step
from partialfc.report.run_page.log import SHARES
from partialfc.report.run_page.quantiles import Floats, histogram_quantiles
from partialfc.report.run_page.runs import Run

DEGREES = Axis("degrees", least=0)
BAND = "The band holds 90 % of the samples."


def angle_charts(runs: Sequence[Run]) -> list[Chart]:
    """Target and negative angles over the steps with bands, and how they lie at the start and the end."""
    several = len(runs) > 1
    series = []
    for place, run in enumerate(runs):
        steps, middle = by_step(run.log.column("step"), run.log.angles[:, 1])
        ends = [by_step(run.log.column("step"), run.log.angles[:, column])[1] for column in (0, 2)]
        own = f"{run.name}: " if several else ""
        series.append(
            Series(
                f"{own}to its own centre",
                steps,
                middle,
                low=None if several else ends[0],
                high=None if several else ends[1],
                colour=place if several else 0,
                run=place if several else None,
                kind="to its own centre",
            )
        )
        records = run.log.events["angles"]
        found = _quantiles(records, "nearest_negative")
        series.append(
            Series(
                f"{own}to the nearest other centre",
                np.array([float(each["step"]) for each in records]),
                found[:, 1],
                low=None if several else found[:, 0],
                high=None if several else found[:, 2],
                colour=place if several else 1,
                dash=int(several),
                run=place if several else None,
                kind="to the nearest other centre",
            )
        )
    note = "Medians of the angles between an embedding and centres." + ("" if several else f" {BAND}")
    over = Chart("angles", "Angles through training", STEP, DEGREES, series, note=note)
    return [over, *([] if several else _distributions(runs[0]))]


def _distributions(run: Run) -> list[Chart]:
    """Of the first record and the last, for the two kinds of angles."""
    records = run.log.events["angles"]
    found = []
    for key, name, title in (
        ("target", "angles-target", "To its own centre"),
        ("nearest_negative", "angles-negative", "To the nearest other centre"),
    ):
        measured = [(each["step"], each[f"{key}_histogram"]) for each in records]
        if key == "target" and not measured:
            measured = [*run.log.histograms]
        ends = [measured[0], measured[-1]] if len(measured) > 1 else measured
        series = [
            shares(f"step {step}", counts, low=0, high=180, colour=colour)
            for colour, (step, counts) in enumerate(ends)
        ]
        found.append(
            Chart(
                name,
                title,
                Axis("degrees", least=0, most=120),
                Axis("share of samples", percent=True, least=0),
                [each for each in series if each is not None],
            )
        )
    return found


def shares(
    name: str, counts: Sequence[float], *, low: float, high: float, colour: int, dash: int = 0
) -> Series | None:
    """A histogram of bins of equal width as steps, each bin's share of all; None where it is empty."""
    values = np.array(counts, np.float64)
    total = values.sum()
    if not len(values) or not np.isfinite(total) or total <= 0:
        return None
    edges = np.linspace(low, high, len(values) + 1)
    return Series(
        name,
        edges,
        np.append(values, values[-1]) / total,
        look="steps",
        colour=colour,
        shade=True,
        dash=dash,
    )


def _quantiles(records: Sequence[dict[str, Any]], key: str) -> Floats:
    """[n, 3]: of each record."""
    found = np.full((len(records), len(SHARES)), np.nan)
    for row, record in enumerate(records):
        counts = np.array([record[f"{key}_histogram"]], np.float64)
        if counts.shape[1]:
            found[row] = histogram_quantiles(counts, SHARES, low=0, high=180)[0]
    return found
