"""Verification: do two images show the same identity? Scores in, figures out; pure NumPy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

import numpy as np

from partialfc.evaluation.bootstrap import Interval

FARS = (1e-3, 1e-4)

ScoredBy = Literal["cosine", "mls"]


@dataclass(frozen=True)
class Verification:
    """What `verify` found. Rates are fractions in [0, 1]; thresholds are in the scores' unit."""

    pairs: int
    accuracy: float  # mean over the folds
    accuracy_std: float  # population standard deviation over the folds
    accuracy_se: float  # standard error of the mean: the sample's standard deviation / sqrt(folds)
    threshold: float  # mean over the folds; a pair counts as the same identity from here on
    tar: dict[float, float | None]  # by FAR; None: too few impostor pairs to say
    auc: float
    eer: float
    rank1: float | None = None  # by the nearest neighbour among the set's images; None: not measured
    dtype: str | None = None  # of the network's products, such as "bfloat16"; None: not known
    score: ScoredBy = "cosine"  # what the threshold is one of; mls: the likelihood of Gaussians
    intervals: Mapping[str, Interval | None] = field(default_factory=dict)  # by the keys of `to_dict`

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; the keys of `tar` become "tar@far=1e-3". `intervals` is left out where it is empty,
        and `score` where it is the cosine.

        An interval is [low, high], or None where there are too few identities to give one.
        """
        return {
            "pairs": self.pairs,
            "accuracy": self.accuracy,
            "accuracy_std": self.accuracy_std,
            "accuracy_se": self.accuracy_se,
            "threshold": self.threshold,
            **{tar_key(far): tar for far, tar in self.tar.items()},
            "auc": self.auc,
            "eer": self.eer,
            **({} if self.rank1 is None else {"rank1": self.rank1}),
            **({} if self.dtype is None else {"dtype": self.dtype}),
            **({} if self.score == "cosine" else {"score": self.score}),
            **({"intervals": dict(self.intervals)} if self.intervals else {}),
        }

    def describe(self) -> str:
        """All figures in one line, to be read by people, each with its interval where there is one."""
        tars = "".join(
            f", TAR@FAR={_scientific(far)} "
            + ("n/a, too few impostor pairs" if tar is None else f"{tar:.2%}{self._shown(tar_key(far))}")
            for far, tar in self.tar.items()
        )
        dtype = "" if self.dtype is None else f" in {self.dtype}"
        of = "" if self.score == "cosine" else f" of the likelihood ({self.score})"
        return (
            f"{self.pairs} pairs{dtype}: accuracy {self.accuracy:.2%}{self._shown('accuracy')} "
            f"± {self.accuracy_std:.2%} at threshold {self.threshold:.4f}{of}{tars}, "
            f"AUC {self.auc:.4f}{self._shown('auc', percent=False)}, EER {self.eer:.2%}{self._shown('eer')}"
            + ("" if self.rank1 is None else f", rank-1 {self.rank1:.2%}{self._shown('rank1')}")
        )

    def _shown(self, key: str, *, percent: bool = True) -> str:
        """The interval of a figure, to stand behind it."""
        if key not in self.intervals:
            return ""
        found = self.intervals[key]
        if found is None:
            return " [too few identities]"
        return " [{:.2%}, {:.2%}]".format(*found) if percent else " [{:.4f}, {:.4f}]".format(*found)


def pair_scores(embeddings: np.ndarray) -> np.ndarray:
    """embeddings [2P, D] -> cosines [P] of rows 2i and 2i + 1, float64.

    Raises ValueError for an odd number of rows, and for the first row that is zero or not finite.
    """
    rows = np.asarray(embeddings, dtype=np.float64)
    if rows.ndim != 2 or len(rows) % 2:
        raise ValueError(f"embeddings have shape {rows.shape}: they must be [2P, D], two rows a pair")
    norms = np.linalg.norm(rows, axis=1)
    bad = np.flatnonzero(~np.isfinite(norms) | (norms == 0))
    if bad.size:
        what = "zero" if norms[bad[0]] == 0 else "not finite"
        raise ValueError(
            f"embedding {bad[0]} (pair {bad[0] // 2}) is {what}, {bad.size} of {len(rows)} are unusable: "
            "a cosine needs a direction; look at that image, or at the backbone's weights"
        )
    units = rows / norms[:, None]
    cosines: np.ndarray = np.einsum("pd,pd->p", units[0::2], units[1::2])
    return cosines.clip(-1, 1)  # a unit row's last digit is rounded


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """Of P pairs in F folds: fold_of [P], and accuracies [F] of each at the thresholds [F] of the others."""

    fold_of: np.ndarray
    accuracies: np.ndarray
    thresholds: np.ndarray

    def right(self, scores: np.ndarray, same: np.ndarray) -> np.ndarray:
        """[P]: whether each pair is decided rightly at the threshold of its fold."""
        decided: np.ndarray = (scores >= self.thresholds[self.fold_of]) == same
        return decided

    def share(self) -> np.ndarray:
        """[P]: the part of the accuracy that is each pair's, which add up to 1."""
        sizes = np.bincount(self.fold_of)
        parts: np.ndarray = 1 / (len(sizes) * sizes[self.fold_of])
        return parts


def verify(
    scores: np.ndarray,
    same: np.ndarray,
    *,
    folds: int | np.ndarray = 10,
    fars: Sequence[float] = FARS,
) -> Verification:
    """scores [P] (higher: more similar), same [P] -> accuracy by the LFW protocol, TAR at each FAR, AUC, EER.

    Accuracy: the folds are consecutive blocks, the first P % folds of them one pair longer; or as an array
    [P] says, the number 0..F-1 of each pair's fold. For each, the threshold that is most accurate on the
    other folds is applied to it. A threshold halfway between each two neighbouring scores is tried; of
    equally accurate ones the highest is taken (fewest false accepts).

    TAR at FAR: with n impostor pairs, floor(far * n) may be accepted; the TAR is the share of genuine pairs
    above the lowest threshold that accepts no more. Pairs whose score equals the threshold's are all
    rejected. If not even one may be accepted (far * n < 1), the set is too small for that FAR: TAR is None.

    EER: the rate at which false accepts and false rejects are equal, on the ROC joined by straight lines.

    Pairs with equal scores are on one side of every threshold; where all scores are equal, AUC, EER and
    accuracy are those of chance.

    Raises ValueError for scores that are not finite, lengths that differ, a single class of pairs, fewer than
    two folds, a fold without a pair, and a FAR outside (0, 1).
    """
    scores, same = checked(scores, same)
    for value in fars:
        if not 0 < value < 1:
            raise ValueError(f"fars has {value}: a false accept rate must lie between 0 and 1")
    found = cross_validate(scores, same, folds)
    accuracies, thresholds = found.accuracies, found.thresholds
    far, tar, _ = roc(scores, same)
    return Verification(
        pairs=len(scores),
        accuracy=float(accuracies.mean()),
        accuracy_std=float(accuracies.std()),
        accuracy_se=float(accuracies.std(ddof=1) / len(accuracies) ** 0.5),
        threshold=float(thresholds.mean()),
        tar={float(value): _tar_at(scores, same, value) for value in fars},
        auc=float(np.trapezoid(tar, far)),
        eer=_equal_error_rate(far, tar),
    )


def roc(scores: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """scores [P], same [P] -> far [T], tar [T], thresholds [T]: the rates when scores >= threshold pass.

    Thresholds fall from infinity (nothing passes) through every distinct score, so that both rates rise from
    0 to 1. Raises ValueError as `verify` does.
    """
    scores, same = checked(scores, same)
    order = np.argsort(-scores, kind="stable")
    scores, same = scores[order], same[order]
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)  # of each run of equal scores
    true_accepts = np.append(0, np.cumsum(same)[last])
    false_accepts = np.append(0, np.cumsum(~same)[last])
    return (
        false_accepts / false_accepts[-1],
        true_accepts / true_accepts[-1],
        np.append(np.inf, scores[last]),
    )


def checked(scores: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float64 [P] and bool [P], or ValueError."""
    scores, same = np.asarray(scores, dtype=np.float64), np.asarray(same)
    if scores.ndim != 1 or scores.shape != same.shape:
        raise ValueError(f"scores {scores.shape} and same {same.shape} must both be [P], one of each a pair")
    bad = np.flatnonzero(~np.isfinite(scores))
    if bad.size:
        raise ValueError(f"score {bad[0]} is {scores[bad[0]]}: scores must be finite")
    if not np.isin(same, (0, 1)).all():
        raise ValueError("same must hold bools, or 0 and 1")
    same = same.astype(np.bool_)
    if not 0 < same.sum() < len(same):
        raise ValueError(
            f"{same.sum()} genuine and {(~same).sum()} impostor pairs: verification needs some of both"
        )
    return scores, same


def cross_validate(scores: np.ndarray, same: np.ndarray, folds: int | np.ndarray) -> CrossValidation:
    """scores [P], same [P], and the folds as for `verify` -> each fold's accuracy, at the others' threshold.

    Raises ValueError as `verify` does.
    """
    scores, same = checked(scores, same)
    fold_of = _fold_numbers(len(scores), folds)
    count = int(fold_of.max()) + 1
    order = np.argsort(scores, kind="stable")  # once: dropping a fold keeps the rest in order
    accuracies, thresholds = np.empty(count), np.empty(count)
    for fold in range(count):
        others = order[fold_of[order] != fold]
        thresholds[fold] = _best_threshold(scores[others], same[others])
        held_out = fold_of == fold
        accuracies[fold] = np.mean((scores[held_out] >= thresholds[fold]) == same[held_out])
    return CrossValidation(fold_of, accuracies, thresholds)


def _fold_numbers(pairs: int, folds: int | np.ndarray) -> np.ndarray:
    """[P]: the number of each pair's fold."""
    if isinstance(folds, np.ndarray):
        if folds.shape != (pairs,) or folds.dtype.kind not in "iu" or folds.min() < 0:
            raise ValueError(
                f"folds has shape {folds.shape}: it must be [{pairs}], the number of each pair's fold"
            )
        empty = np.flatnonzero(np.bincount(folds) == 0)
        if empty.size or folds.max() == 0:
            which = f"fold {empty[0]} of {folds.max() + 1} has no pair" if empty.size else "there is one fold"
            raise ValueError(f"{which}: at least two are needed, and each must have pairs")
        return folds
    if not 2 <= folds <= pairs:
        raise ValueError(f"folds is {folds}: it must be 2..{pairs}, the number of pairs")
    return np.repeat(np.arange(folds), [len(block) for block in np.array_split(np.arange(pairs), folds)])


def _best_threshold(scores: np.ndarray, same: np.ndarray) -> float:
    """Rising scores [T], same [T] -> the highest of the thresholds that get most pairs right."""
    # Cut k rejects the k lowest: the impostors among them and the genuine pairs above are right.
    right = np.append(0, np.cumsum(~same)) + np.append(np.cumsum(same[::-1])[::-1], 0)
    splits_a_tie = np.append(np.append(False, scores[:-1] == scores[1:]), False)
    right[splits_a_tie] = -1
    cut = len(right) - 1 - int(np.argmax(right[::-1]))
    if cut == 0:
        return float(scores[0])
    below = scores[cut - 1]
    if cut == len(scores):
        return float(np.nextafter(below, np.inf))
    halfway = (below + scores[cut]) / 2
    return float(halfway if halfway > below else scores[cut])  # no float lies between neighbouring floats


def threshold_at(impostors: np.ndarray, far: float) -> float | None:
    """Impostors' scores -> the score that a pair must exceed: no more than the share `far` of them do.

    None where not even one may be.
    """
    # Decimal, for the FAR as it is written: 0.29 * 100 is 28.999999999999996 in floats.
    allowed = int(Decimal(str(float(far))) * len(impostors))
    if allowed < 1:
        return None
    return float(np.sort(impostors)[-1 - allowed])


def _tar_at(scores: np.ndarray, same: np.ndarray, far: float) -> float | None:
    highest_rejected = threshold_at(scores[~same], far)
    return None if highest_rejected is None else float(np.mean(scores[same] > highest_rejected))


def _equal_error_rate(far: np.ndarray, tar: np.ndarray) -> float:
    excess = far - (1 - tar)  # rises from -1 to 1
    after = int(np.argmax(excess >= 0))
    before = after - 1
    part = -excess[before] / (excess[after] - excess[before])
    return float(far[before] + part * (far[after] - far[before]))


def tar_key(far: float) -> str:
    """The key of the TAR at a FAR: "tar@far=1e-3"."""
    return f"tar@far={_scientific(far)}"


def _scientific(rate: float) -> str:
    """0.001 -> "1e-3", 0.00015 -> "1.5e-4": one spelling for each rate."""
    _, digits, exponent = Decimal(str(rate)).normalize().as_tuple()
    fraction = "".join(map(str, digits[1:]))
    return f"{digits[0]}{'.' if fraction else ''}{fraction}e{int(exponent) + len(digits) - 1}"
