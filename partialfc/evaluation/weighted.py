"""The figures of verification when pairs have weights, for many sets of weights at once; pure NumPy."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

import numpy as np

from partialfc.evaluation.verification import checked


class WeightedFigures:
    """Of P scored pairs; with equal weights they are those of `verify`.

    Accuracy is at thresholds that stay: those that the folds of the set itself chose. Choosing them anew in
    each replicate changes it by a term of second order only, as a threshold stands where accuracy is at its
    highest. The share of genuine pairs stays too, which the set's author chose. A figure is NaN where the
    weights leave no genuine pair, or no impostor pair, that it needs.
    """

    def __init__(self, scores: np.ndarray, same: np.ndarray, right: np.ndarray, share: np.ndarray) -> None:
        """scores [P], same [P]; right [P]: whether the pair's fold decides it rightly; share [P]: of the
        accuracy, the part that is this pair's, 1 / (number of folds * pairs of the fold).
        """
        scores, same = checked(scores, same)
        self._order = np.argsort(-scores, kind="stable")
        ranked = scores[self._order]
        self._last = np.append(
            np.flatnonzero(np.diff(ranked)), len(ranked) - 1
        )  # of each run of equal scores
        self._same = same
        self._right = right
        self._share = share

    def __call__(self, weights: np.ndarray, fars: Sequence[float]) -> Mapping[str | float, np.ndarray]:
        """weights [b, P], whole numbers -> "accuracy", "auc", "eer" and, by its FAR, each TAR; all [b]."""
        with np.errstate(invalid="ignore", divide="ignore"):
            true_accepts, false_accepts = self._accepts(weights)
            tar = true_accepts / true_accepts[:, -1:]
            far = false_accepts / false_accepts[:, -1:]
            figures: dict[str | float, np.ndarray] = {
                "accuracy": self._accuracy(weights),
                "auc": np.trapezoid(tar, far, axis=1),
                "eer": _equal_error_rates(far, tar),
            }
            for value in fars:
                figures[value] = _tars_at(tar, false_accepts, value)
        undefined = ~np.isfinite(tar[:, -1]) | ~np.isfinite(far[:, -1])
        return {name: np.where(undefined, np.nan, found) for name, found in figures.items()}

    def _accepts(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The weights [b, 1 + T] of genuine and impostor pairs from each distinct score up; first of none."""
        ranked = weights[:, self._order].astype(np.int64)
        same = self._same[self._order]
        none = np.zeros((len(weights), 1), np.int64)
        found = []
        for kind in (same, ~same):
            total = np.cumsum(ranked * kind, axis=1)[:, self._last]
            found.append(np.concatenate([none, total], axis=1))
        return found[0], found[1]

    def _accuracy(self, weights: np.ndarray) -> np.ndarray:
        total = np.zeros(len(weights))
        for kind in (self._same, ~self._same):
            shared = weights[:, kind] * self._share[kind]
            total += self._share[kind].sum() * (shared @ self._right[kind]) / shared.sum(1)
        return total


def _tars_at(tar: np.ndarray, false_accepts: np.ndarray, far: float) -> np.ndarray:
    totals = false_accepts[:, -1]
    allowed = np.array([int(Decimal(str(float(far))) * int(total)) for total in totals])
    above = (false_accepts <= allowed[:, None]).sum(1) - 1  # the last threshold that accepts no more
    found: np.ndarray = tar[np.arange(len(tar)), above]
    return found


def _equal_error_rates(far: np.ndarray, tar: np.ndarray) -> np.ndarray:
    excess = far - (1 - tar)  # rises from -1 to 1
    rows = np.arange(len(far))
    after = np.maximum(np.argmax(excess >= 0, axis=1), 1)
    low, high = excess[rows, after - 1], excess[rows, after]
    before = far[rows, after - 1]
    found: np.ndarray = before + -low / (high - low) * (far[rows, after] - before)
    return found
