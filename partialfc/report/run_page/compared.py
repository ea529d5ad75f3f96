"""Runs beside one another: their figures with intervals, and the paired differences from the first run."""

from collections.abc import Mapping, Sequence

import numpy as np

from partialfc.evaluation.comparison import Comparison, Difference, Side, compare
from partialfc.report.page import Html, paragraph, plain, table
from partialfc.report.run_page.score_charts import Curve, figures_table, replicates_for
from partialfc.report.saved_scores import Scores

SURE = 0.05  # a p-value below it is said to be no chance


def comparison_blocks(name: str, curves: Sequence[Curve]) -> list[Html]:
    """Of one set: the figures of all runs, and how each differs from the first.

    curves: of the runs that have newest scores of the set, in the order of the runs.
    """
    first, others = curves[0], curves[1:]
    blocks = [figures_table(curves, title="run")]
    why = {each.name: why_not_paired(first.scores, each.scores) for each in others}
    compared = {each.name: paired(first, each) for each in others if not why[each.name]}
    if compared:
        blocks.append(Html(f"<h3>Differences from {plain(first.name)}</h3>"))
        said = (
            "On the same pairs, with 95 % intervals, and the p-value of there being no difference. McNemar: "
            f"the pairs that the run alone decides rightly, to those that {first.name} alone does."
        )
        blocks += [paragraph(said), differences_table(compared)]
    for reason in dict.fromkeys(filter(None, why.values())):
        these = ", ".join(other for other, said in why.items() if said == reason)
        blocks.append(paragraph(f"{these}: no differences from {first.name} on {name}, as {reason}."))
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
    return compare(
        Side(first.result, first.scores.scores),
        Side(second.result, second.scores.scores),
        scores.same,
        scores.identities,
        folds=scores.folds,
        replicates=replicates_for(len(scores.same), replicates),
    )


def differences_table(compared: Mapping[str, Comparison]) -> Html:
    """A row for each run: the difference of each figure, and McNemar's test."""
    names = list(dict.fromkeys(name for each in compared.values() for name in each.differences))
    rows = [
        [
            other,
            *(_cell(found.differences.get(name), name) for name in names),
            f"{found.mcnemar.second_alone:,} : {found.mcnemar.first_alone:,}\n{_p(found.mcnemar.p)}",
        ]
        for other, found in compared.items()
    ]
    return Html(f'<div class="lines">{table(["run", *names, "McNemar"], rows)}</div>')


def _cell(found: Difference | None, name: str) -> str:
    """Three lines: the difference, its interval, and what to make of it."""
    if found is None:
        return ""
    form = "{:+.4f}" if name == "auc" else "{:+.2%}"
    ends = "too few identities"
    if found.interval is not None:
        ends = f"[{form.format(found.interval.low)}, {form.format(found.interval.high)}]"
    verdict = _verdict(found.difference, found.p, name)
    sure = "" if found.p is None else f", {_p(found.p)}"
    return f"{form.format(found.difference)}\n{ends}\n{verdict}{sure}"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p {value:.3f}"


def _verdict(difference: float, p: float | None, name: str) -> str:
    if p is None or not np.isfinite(difference) or p >= SURE:
        return "may be chance"
    return "better" if (difference > 0) == (name != "eer") else "worse"
