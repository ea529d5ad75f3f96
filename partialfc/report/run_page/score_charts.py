"""What verification scores say: ROC and DET curves with bands, histograms, figures with intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from partialfc.data.parallel.progress import ShowProgress
from partialfc.evaluation.bootstrap import Interval
from partialfc.evaluation.intervals import with_intervals
from partialfc.evaluation.roc_band import REPLICATES, RocBand, roc_band
from partialfc.evaluation.verification import Verification, verify
from partialfc.report.page import Html, paragraph, table
from partialfc.report.run_page.angle_charts import shares
from partialfc.report.run_page.chart import Axis, Chart, Mark, Series
from partialfc.report.saved_scores import Scores

BINS = 60
DRAWS = 200_000_000  # of pairs, in all replicates of a set: some ten seconds
LEAST_REPLICATES = 100
MOST_BANDS = 3  # runs whose bands are told from one another, as in script/legend.js


@dataclass(frozen=True, eq=False)
class Curve:
    """One run's scores on one set, and what is drawn of them."""

    name: str  # as the legends call it
    scores: Scores
    result: Verification
    band: RocBand
    run: int | None = None  # its place, on a page of several

    @property
    def untrained(self) -> bool:
        return self.scores.untrained

    @property
    def colour(self) -> int:
        return int(self.untrained) if self.run is None else self.run


def replicates_for(pairs: int, most: int) -> int:
    """How many draws of the bootstrap a set of so many pairs gets; 0: it has too many for any interval."""
    found = min(most, DRAWS // max(pairs, 1))
    return found if found >= LEAST_REPLICATES else 0


def curve_of(
    name: str, scores: Scores, *, run: int | None = None, replicates: int = 1000, progress: ShowProgress
) -> Curve:
    """With intervals and a band where the identities are known; scores from before training have none."""
    result = verify(scores.scores, scores.same, folds=scores.folds)
    draws = (
        0 if scores.untrained or scores.identities is None else replicates_for(len(scores.same), replicates)
    )
    stage = f"intervals of {scores.name}"
    if draws and scores.identities is not None:
        result = with_intervals(
            result, scores.scores, scores.same, scores.identities, folds=scores.folds, replicates=draws
        )
    drawn = min(draws, REPLICATES)
    band = roc_band(
        scores.scores,
        scores.same,
        scores.identities,
        replicates=drawn,
        progress=lambda done: progress(stage, done, drawn),
    )
    return Curve(name, scores, result, band, run)


def score_charts(key: str, curves: Sequence[Curve]) -> list[Chart]:
    """The ROC and DET curves of one set over one another, and the histograms of the newest scores.

    key: of the set, in the charts' keys.
    """
    rates = [_roc(each) for each in curves]
    errors = [_det(each) for each in curves]
    least = min((float(each.band.far[0]) for each in curves), default=1e-4)
    far = Axis("false accept rate", log=True, least=10 ** math.floor(math.log10(least)), most=1)
    band = any(each.band.low is not None for each in curves)
    note = "No band: these are the scores from before training."
    if band:
        shown = f", while at most {MOST_BANDS} runs are shown," if len(curves) > MOST_BANDS else ""
        note = f"The band{shown} is the 95 % interval by a bootstrap of the identities."
    elif not all(each.untrained for each in curves):
        note = "No band: the identities of the pairs are not known, or they are too many to draw."
    return [
        Chart(f"roc-{key}", "ROC", far, Axis("true accept rate", percent=True, most=1), rates, note=note),
        Chart(
            f"det-{key}",
            "DET",
            far,
            Axis("false reject rate", log=True),
            errors,
            note="Both rates in logarithmic scale; where no pair is rejected, the line ends.",
        ),
        *([_histogram(key, each) for each in curves if not each.untrained]),
    ]


def _roc(curve: Curve) -> Series:
    band = curve.band
    return Series(
        curve.name,
        band.far,
        band.tar,
        band.low,
        band.high,
        colour=curve.colour,
        dash=int(curve.untrained),
        run=curve.run,
    )


def _det(curve: Curve) -> Series:
    band = curve.band
    return Series(
        curve.name,
        band.far,
        _error(band.tar),
        low=None if band.high is None else _error(band.high),
        high=None if band.low is None else _error(band.low),
        colour=curve.colour,
        dash=int(curve.untrained),
        run=curve.run,
    )


def _error(tar: np.ndarray) -> np.ndarray:
    """The false reject rate; NaN for none, which has no place on a logarithmic axis."""
    rejects = 1 - tar
    return np.where(rejects > 1e-12, rejects, np.nan)


def _histogram(key: str, curve: Curve) -> Chart:
    scores, same = curve.scores.scores, curve.scores.same
    low, high = float(scores.min()), float(scores.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    series = [
        shares(
            name,
            np.histogram(scores[kind], BINS, (low, high))[0].tolist(),
            low=low,
            high=high,
            colour=number if curve.run is None else curve.run,
            dash=0 if curve.run is None else number,
        )
        for number, (name, kind) in enumerate((("same identity", same), ("two identities", ~same)))
    ]
    return Chart(
        f"scores-{key}-{curve.run or 0}",
        f"Scores, {curve.name}",
        Axis("score of a pair"),
        Axis("share of pairs", percent=True, least=0),
        [each for each in series if each is not None],
        [Mark(curve.result.threshold, "threshold")],
        run=curve.run,
    )


def figures_table(curves: Sequence[Curve], *, title: str = "") -> Html:
    """Each curve's figures with their intervals: a row for each curve. title: above their names."""
    found = [_figures(each.result) for each in curves]
    names = [name for name in found[0] if any(each[name] is not None for each in found)]
    rows = [
        [
            curve.name,
            *(shown_figure(name, figures[name], curve.result.intervals.get(name)) for name in names),
            f"{curve.result.threshold:.4f}",
            f"{curve.result.pairs:,}",
        ]
        for curve, figures in zip(curves, found, strict=True)
    ]
    return Html(f'<div class="lines">{table([title, *names, "threshold", "pairs"], rows)}</div>')


def _figures(result: Verification) -> dict[str, Any]:
    found = result.to_dict()
    return {
        name: found[name] for name in found if name in ("accuracy", "auc", "eer") or name.startswith("tar@")
    }


def shown_figure(name: str, value: float | None, found: Interval | None) -> str:
    """A figure with its interval, as `evaluate` prints it."""
    if value is None:
        return "too few pairs"
    form = "{:.4f}" if name == "auc" else "{:.2%}"
    if found is None:
        return form.format(value)
    return f"{form.format(value)} [{form.format(found.low)}, {form.format(found.high)}]"


def why_no_band(curves: Sequence[Curve]) -> list[Html]:
    """Where a set's newest scores have no intervals: why."""
    missing = [each for each in curves if not each.untrained and not each.result.intervals]
    if not missing:
        return []
    if any(each.scores.identities is None for each in missing):
        said = "who is on which image is not known, since the run's pairs cannot be read"
    else:
        said = f"more than {DRAWS // LEAST_REPLICATES:,} pairs are too many to draw again and again"
    return [paragraph(f"There are no intervals: {said}.")]
