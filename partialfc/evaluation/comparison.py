"""Two networks on the same pairs: by how much do their figures differ, and may it be chance? Pure NumPy."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from partialfc.evaluation.bootstrap import Interval, interval
from partialfc.evaluation.intervals import resampled
from partialfc.evaluation.nearest import Nearest, resampled_rank1
from partialfc.evaluation.verification import Verification, cross_validate

ROUNDING = 1e-12  # a difference below it is none


@dataclass(frozen=True)
class Difference:
    """The second's figure less the first's; its 95 % interval, and the p-value of there being none.

    interval, p: None where there are too few identities.
    """

    difference: float
    interval: Interval | None
    p: float | None


@dataclass(frozen=True)
class McNemar:
    """How many pairs one of the two alone decides rightly, and the p-value of that being a fair coin's."""

    first_alone: int
    second_alone: int
    p: float


@dataclass(frozen=True, eq=False)
class Side:
    """One network on P pairs: its figures, its scores [P], and its nearest neighbours where known."""

    result: Verification
    scores: np.ndarray
    neighbours: Nearest | None = None


@dataclass(frozen=True)
class Comparison:
    """differences: by the keys of `Verification.to_dict`."""

    first: Verification
    second: Verification
    differences: Mapping[str, Difference]
    mcnemar: McNemar

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "first": self.first.to_dict(),
            "second": self.second.to_dict(),
            "differences": {name: vars(each) for name, each in self.differences.items()},
            "mcnemar": vars(self.mcnemar),
        }

    def describe(self, first: str, second: str) -> str:
        """A table for people; first, second: what the networks are called."""
        width = max(12, len(first), len(second))
        rows = [
            f"{'':14}{first:>{width}}  {second:>{width}}  {'difference':>12}  {'95 % interval':>22}  {'p':>7}"
        ]
        before, after = self.first.to_dict(), self.second.to_dict()
        for name, each in self.differences.items():
            shown = "{:+.4f}" if name == "auc" else "{:+.2%}"
            ends = (
                "too few identities"
                if each.interval is None
                else (f"[{shown.format(each.interval.low)}, {shown.format(each.interval.high)}]")
            )
            sides = (f"{side[name]:{'.4f' if name == 'auc' else '.2%'}}" for side in (before, after))
            figures = "  ".join(f"{side:>{width}}" for side in sides)
            p = "n/a" if each.p is None else _probability(each.p)
            rows.append(f"{name:14}{figures}  {shown.format(each.difference):>12}  {ends:>22}  {p:>7}")
        test = self.mcnemar
        rows.append(
            f"McNemar: {test.first_alone} pairs are right in {first} alone, {test.second_alone} in {second} "
            f"alone, p {_probability(test.p)}"
        )
        return "\n".join(rows)


def _probability(p: float) -> str:
    return "<0.0001" if p < 5e-5 else f"{p:.4f}"


def compare(
    first: Side,
    second: Side,
    same: np.ndarray,
    identities: np.ndarray,
    *,
    folds: int | np.ndarray,
    replicates: int,
    seed: int = 0,
) -> Comparison:
    """Both on the same P pairs: same [P], and identities [P, 2] and folds as `with_intervals` takes them.

    The paired bootstrap: each replicate draws identities once for both, so that what makes a draw easy does
    so for both, and the interval is that of the difference (`partialfc.evaluation.bootstrap`). p is the least
    level at which the percentile interval leaves 0 out: twice the smaller share of replicates on either side
    of 0, 0 included, each with one added (Davison and Hinkley 1997, section 4.2.3, for the one that is
    added). McNemar's exact test (1947) takes the accuracy's decisions, each network at its own folds'
    thresholds. It treats pairs as independent, which pairs of one person are not: where the two disagree,
    believe the bootstrap.

    Raises ValueError as `verify` does.
    """
    fars = [far for far, tar in first.result.tar.items() if tar is not None]
    drawn = [_resampled(side, same, identities, fars, folds, replicates, seed) for side in (first, second)]
    figures = [side.result.to_dict() for side in (first, second)]
    differences = {
        name: _difference(figures[1][name] - figures[0][name], drawn[1][name] - drawn[0][name])
        for name in drawn[0]
    }
    right = [cross_validate(side.scores, same, folds).right(side.scores, same) for side in (first, second)]
    test = mcnemar(int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum()))
    return Comparison(first.result, second.result, differences, test)


def mcnemar(first_alone: int, second_alone: int) -> McNemar:
    """McNemar's test, exact and two-sided, on the pairs that one of the two alone decides rightly."""
    n, least = first_alone + second_alone, min(first_alone, second_alone)
    terms = [math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(least + 1)]
    tail = float(np.logaddexp.reduce(terms)) - n * math.log(2)
    return McNemar(first_alone, second_alone, min(1.0, 2 * math.exp(tail)))


def _resampled(
    side: Side,
    same: np.ndarray,
    identities: np.ndarray,
    fars: Sequence[float],
    folds: int | np.ndarray,
    replicates: int,
    seed: int,
) -> Mapping[str, np.ndarray]:
    found = dict(
        resampled(side.scores, same, identities, folds=folds, fars=fars, replicates=replicates, seed=seed)
    )
    if side.neighbours is not None and len(side.neighbours.right):
        found["rank1"] = resampled_rank1(side.neighbours, replicates=replicates, seed=seed)
    return found


def _difference(difference: float, drawn: np.ndarray) -> Difference:
    drawn = np.where(np.abs(drawn) < ROUNDING, 0.0, drawn)
    ends = interval(drawn)
    if ends is None:
        return Difference(difference, None, None)
    defined = drawn[~np.isnan(drawn)]
    sides = (int((defined <= 0).sum()), int((defined >= 0).sum()))
    return Difference(difference, ends, min(1.0, 2 * (1 + min(sides)) / (1 + len(defined))))
