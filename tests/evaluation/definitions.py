"""The figures of a verification, slow and straight from their definitions."""

import itertools
import math
from fractions import Fraction


def slow_best_threshold(scores: list[float], same: list[bool]) -> float:
    distinct = sorted(set(scores))
    cuts = [distinct[0]]
    cuts += [(low + high) / 2 for low, high in itertools.pairwise(distinct)]
    cuts += [math.nextafter(distinct[-1], math.inf)]
    right = [sum((s >= cut) == flag for s, flag in zip(scores, same, strict=True)) for cut in cuts]
    return max(cut for cut, count in zip(cuts, right, strict=True) if count == max(right))


def slow_folds(scores: list[float], same: list[bool], folds: int) -> tuple[list[float], list[float]]:
    accuracies, thresholds, start = [], [], 0
    for fold in range(folds):
        stop = start + len(scores) // folds + (fold < len(scores) % folds)
        threshold = slow_best_threshold(scores[:start] + scores[stop:], same[:start] + same[stop:])
        held_out = list(zip(scores[start:stop], same[start:stop], strict=True))
        accuracies.append(sum((s >= threshold) == flag for s, flag in held_out) / len(held_out))
        thresholds.append(threshold)
        start = stop
    return accuracies, thresholds


def slow_tar(scores: list[float], same: list[bool], far: float) -> float | None:
    genuine = [s for s, flag in zip(scores, same, strict=True) if flag]
    impostors = [s for s, flag in zip(scores, same, strict=True) if not flag]
    allowed = math.floor(Fraction(str(far)) * len(impostors))
    if allowed < 1:
        return None
    cuts = [*scores, math.nextafter(max(scores), math.inf)]
    fair = [cut for cut in cuts if sum(s >= cut for s in impostors) <= allowed]
    return sum(s >= min(fair) for s in genuine) / len(genuine)


def slow_auc(scores: list[float], same: list[bool]) -> float:
    genuine = [s for s, flag in zip(scores, same, strict=True) if flag]
    impostors = [s for s, flag in zip(scores, same, strict=True) if not flag]
    wins = sum((g > i) + 0.5 * (g == i) for g in genuine for i in impostors)
    return wins / (len(genuine) * len(impostors))


def slow_eer(scores: list[float], same: list[bool]) -> float:
    """Walk the ROC's segments until the false accepts reach the false rejects."""
    genuine = [s for s, flag in zip(scores, same, strict=True) if flag]
    impostors = [s for s, flag in zip(scores, same, strict=True) if not flag]
    previous = (0.0, 1.0)
    for cut in sorted(set(scores), reverse=True):
        far = sum(s >= cut for s in impostors) / len(impostors)
        frr = sum(s < cut for s in genuine) / len(genuine)
        if far >= frr:
            step = (previous[1] - previous[0]) / ((far - previous[0]) + (previous[1] - frr))
            return previous[0] + step * (far - previous[0])
        previous = (far, frr)
    raise AssertionError("the last cut accepts everything")
