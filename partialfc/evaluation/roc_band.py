"""ROC curves with bands: the true accept rate at each false accept rate, and how much of it may be chance."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from partialfc.evaluation.bootstrap import LEVEL, draw_counts, pair_weights
from partialfc.evaluation.intervals import checked_identities
from partialfc.evaluation.verification import checked

REPLICATES = 400
FARS = 121  # false accept rates on a curve


@dataclass(frozen=True, eq=False)
class RocBand:
    """far [n], rising; tar [n] at each of them, as `verify` defines it; low, high [n]: the ends of its 95 %
    interval, None without identities. NaN in them where too few replicates have a figure.
    """

    far: np.ndarray
    tar: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None


def roc_band(
    scores: np.ndarray,
    same: np.ndarray,
    identities: np.ndarray | None = None,
    *,
    points: int = FARS,
    replicates: int = REPLICATES,
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> RocBand:
    """scores [P], same [P] -> the curve, at rates from one impostor pair to all, evenly spaced in their
    logarithm; with identities [P, 2] as `with_intervals` takes them also its band (`partialfc.evaluation.
    bootstrap`), each rate by itself.

    Of the interval's ends the lower one is no greater than the curve and the upper one no smaller. progress:
    is told how many replicates are done.

    Raises ValueError as `verify` does, and for identities of another shape.
    """
    scores, same = checked(scores, same)
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # of each run of equal scores
    impostors = int((~same).sum())
    allowed = np.unique(np.geomspace(1, impostors, points).round()).astype(np.int64)
    far = allowed / impostors
    (tar,) = _tars(np.ones((1, len(scores)), np.int64), same[order], last, far)
    if identities is None or not replicates:
        return RocBand(far, tar)
    numbers = checked_identities(identities, len(scores))
    found = []
    for counts in draw_counts(int(numbers.max()) + 1, replicates, seed, row=len(scores)):
        found.append(_tars(pair_weights(counts, numbers)[:, order].astype(np.int64), same[order], last, far))
        progress(sum(map(len, found)))
    drawn = np.concatenate(found)
    tail = (1 - LEVEL) / 2
    defined = np.isfinite(drawn).mean(0) >= 0.5
    low, high = np.full(len(far), np.nan), np.full(len(far), np.nan)
    if defined.any():
        low[defined], high[defined] = np.nanquantile(drawn[:, defined], [tail, 1 - tail], axis=0)
    return RocBand(far, tar, np.minimum(low, tar), np.maximum(high, tar))


def _tars(weights: np.ndarray, same: np.ndarray, last: np.ndarray, far: np.ndarray) -> np.ndarray:
    """weights [b, P] of pairs in falling order of their scores -> the true accept rates [b, n] at far [n]."""
    true = np.cumsum(weights * same, 1)[:, last]
    false = np.cumsum(weights * ~same, 1)[:, last]
    found = np.full((len(weights), len(far)), np.nan)
    for row in range(len(weights)):
        if true[row, -1] and false[row, -1]:
            # a rate that was a whole number of pairs stays one: 1e-9 is far below one pair
            allowed = np.floor(far * false[row, -1] + 1e-9)
            above = np.searchsorted(false[row], allowed, side="right")
            found[row] = np.append(0, true[row])[above] / true[row, -1]
    return found
