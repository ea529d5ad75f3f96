"""Where the time of a training step goes."""

from collections.abc import Mapping, Sequence

import numpy as np

from partialfc.report.page import Html, paragraph, table
from partialfc.report.run_page.chart import Axis, Chart, Series
from partialfc.report.run_page.curves import STEP, by_step, lines
from partialfc.report.run_page.runs import Run
from partialfc.report.run_page.view import scale_of

PHASE = "phase."
NAMES = {
    "data_wait": "waiting for data",
    "backbone": "backbone forward",
    "head_forward": "head forward",
    "backward": "backward",
    "optimizer": "optimizer",
}
REST = "the rest"


def mean_times(run: Run) -> dict[str, float]:
    """The mean seconds of a step that go to each phase, and the rest of it; nothing where none is logged.

    A line counts as many times as it has steps.
    """
    whole = run.log.column("step_seconds")
    steps = np.diff(run.log.column("step"), prepend=0)
    timed = np.isfinite(whole) & (steps > 0)
    if not timed.any():
        return {}
    weights = steps[timed]
    found = {
        name: float(np.average(np.nan_to_num(run.log.column(PHASE + name)[timed]), weights=weights))
        for name in _phases(run)
    }
    rest = float(np.average(whole[timed], weights=weights)) - sum(found.values())
    return found | {REST: max(rest, 0.0)}


def step_time_blocks(runs: Sequence[Run]) -> list[Html]:
    """A table of the means, of each run, and beside it how much of the run went to other things."""
    means = {run.name: mean_times(run) for run in runs}
    if not any(means.values()):
        return [
            paragraph(
                "The log does not say how long the phases of a step took: an older version of the program "
                "wrote it. A run that is trained or resumed with this one says it."
            )
        ]
    names = list(dict.fromkeys(name for each in means.values() for name in each))
    rows = [[_shown(name), *(_cell(each, name) for each in means.values())] for name in names]
    total = ["a whole step", *(_ms(sum(each.values())) if each else "" for each in means.values())]
    between = [_between(run) for run in runs]
    if len(runs) == 1:
        said = [paragraph(f"{between[0]}.".replace("\n", ", "))] if between[0] else []
        return [table(["mean of a step", *means], [*rows, total]), *said]
    last = [["between steps", *between]] if any(between) else []
    return [Html(f'<div class="lines">{table(["mean of a step", *means], [*rows, total, *last])}</div>')]


def _between(run: Run) -> str:
    """Its checkpoints, which are between steps."""
    spent = [each["seconds"] for each in run.log.events["checkpoint"] if _is_number(each.get("seconds"))]
    if not spent:
        return ""
    count = run.log.counts["checkpoint"]
    return f"{count:,} checkpoints took {sum(spent):.3g} s\nthe longest {max(spent):.3g} s"


def step_time_charts(runs: Sequence[Run]) -> list[Chart]:
    """Each phase over the steps, in milliseconds; of several runs the whole step."""
    if len(runs) > 1:
        whole = lines(
            runs, lambda run: by_step(run.log.column("step"), 1000 * run.log.column("step_seconds"))
        )
        return [_chart("Time of a step", whole)]
    run = runs[0]
    series = [
        Series(
            _shown(name),
            *by_step(run.log.column("step"), 1000 * run.log.column(PHASE + name)),
            colour=colour,
        )
        for colour, name in enumerate(_phases(run))
    ]
    return [_chart("Phases of a step", series)]


def _chart(title: str, series: Sequence[Series]) -> Chart:
    log, view = scale_of([each.y for each in series])
    axis = Axis("ms a step", log=log, least=None if log else 0, either=True)
    return Chart("step-time", title, STEP, axis, series, view=view)


def _phases(run: Run) -> list[str]:
    return [name.removeprefix(PHASE) for name in run.log.columns if name.startswith(PHASE)]


def _shown(name: str) -> str:
    return NAMES.get(name, name)


def _cell(means: Mapping[str, float], name: str) -> str:
    if name not in means:
        return ""
    return f"{_ms(means[name])} ({means[name] / sum(means.values()):.0%})"


def _ms(seconds: float) -> str:
    milliseconds = 1000 * seconds
    return f"{milliseconds:,.0f} ms" if milliseconds >= 100 else f"{milliseconds:.3g} ms"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))
