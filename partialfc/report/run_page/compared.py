"""Runs beside one another: their figures with intervals, and the paired differences from the first run."""

from collections.abc import Sequence

import numpy as np

from partialfc.evaluation.comparison import Comparison, Side, compare
from partialfc.report.page import Html, paragraph, plain, table
from partialfc.report.run_page.runs import Run
from partialfc.report.run_page.score_charts import Curve, figures_table, replicates_for
from partialfc.report.saved_scores import Scores

SURE = 0.05  # a p-value below it is said to be no chance


def comparison_blocks(name: str, runs: Sequence[Run], curves: Sequence[Curve]) -> list[Html]:
    """Of one set: the figures of all runs, and each run against the first.

    curves: of the runs that have newest scores of the set, in the order of the runs.
    """
    blocks = [figures_table(curves)]
    first = curves[0]
    for other in curves[1:]:
        title = f"{other.name} less {first.name}"
        why = why_not_paired(first.scores, other.scores)
        if why:
            blocks.append(paragraph(f"{title}: no differences on {name}, as {why}."))
            continue
        blocks.append(Html(f"<h3>{plain(title)}</h3>"))
        blocks += difference_blocks(paired(first, other), first.name, other.name)
    return blocks


def why_not_paired(first: Scores, second: Scores) -> str:
    """Why two runs' scores cannot be compared pair by pair; nothing where they can."""
    if len(first.same) != len(second.same) or (first.same != second.same).any():
        return "the runs verified on other pairs"
    if first.identities is None or second.identities is None:
        return "it is not known whom the images show"
    if (first.identities != second.identities).any():
        return "the pairs are of other people"
    if not replicates_for(len(first.same), 1000):
        return "there are too many pairs to draw again and again"
    return ""


def paired(first: Curve, second: Curve, *, replicates: int = 1000) -> Comparison:
    """The differences of two runs on the same pairs."""
    scores = first.scores
    assert scores.identities is not None
    folds = 10 if scores.folds is None else scores.folds
    return compare(
        Side(first.result, first.scores.scores),
        Side(second.result, second.scores.scores),
        scores.same,
        scores.identities,
        folds=folds,
        replicates=replicates_for(len(scores.same), replicates),
    )


def difference_blocks(found: Comparison, first: str, second: str) -> list[Html]:
    """A row for each figure, and McNemar's test."""
    rows = []
    for name, each in found.differences.items():
        form = "{:+.4f}" if name == "auc" else "{:+.2%}"
        ends = "too few identities"
        if each.interval is not None:
            ends = f"[{form.format(each.interval.low)}, {form.format(each.interval.high)}]"
        p = "" if each.p is None else f"{each.p:.4f}"
        rows.append([name, form.format(each.difference), ends, p, _verdict(each.difference, each.p, name)])
    test = found.mcnemar
    return [
        table(["", "difference", "95 % interval", "p", ""], rows),
        paragraph(
            f"McNemar: {test.first_alone:,} pairs are right in {first} alone, {test.second_alone:,} in "
            f"{second} alone, p {test.p:.4f}."
        ),
    ]


def _verdict(difference: float, p: float | None, name: str) -> str:
    if p is None or not np.isfinite(difference) or p >= SURE:
        return "may be chance"
    return "better" if (difference > 0) == (name != "eer") else "worse"
