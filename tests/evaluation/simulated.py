"""Pairs of people of whom some are hard to recognise and some like many others, and intervals on them.

Pairs of one person depend on each other, so an interval whose unit is the pair is too narrow.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from partialfc.evaluation.bootstrap import Interval, interval
from partialfc.evaluation.intervals import resampled
from partialfc.evaluation.verification import tar_key, verify

FIGURES = ("auc", "eer", tar_key(0.1))
Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]


def simulated(people: int, *, seed: int, images: int = 3, impostors: int | None = None) -> Pairs:
    """scores [P], same [P] and identities [P, 2]: all genuine pairs of each, and all pairs of two people, or
    so many of them.
    """
    rng = np.random.default_rng(seed)
    hard, like = rng.normal(size=(2, people))
    within = np.repeat(np.arange(people), images * (images - 1) // 2)
    first, second = np.triu_indices(people, 1)
    if impostors is not None:
        chosen = rng.choice(len(first), impostors, replace=False)
        first, second = first[chosen], second[chosen]
    genuine = 3 - hard[within] + rng.normal(size=len(within))
    impostor = like[first] + like[second] + rng.normal(size=len(first))
    identities = np.stack([np.append(within, first), np.append(within, second)], 1)
    same = np.repeat([True, False], [len(within), len(first)])
    order = rng.permutation(len(same))
    return np.append(genuine, impostor)[order], same[order], identities[order]


def truth(sets: Iterable[Pairs]) -> Mapping[str, float]:
    """The mean of each figure over many large sets."""
    rows = [verify(scores, same, folds=2, fars=[0.1]).to_dict() for scores, same, _ in sets]
    return {name: float(np.mean([row[name] for row in rows])) for name in FIGURES}


def intervals(sets: Iterable[Pairs], *, by_pair: bool, replicates: int) -> Mapping[str, list[Interval]]:
    """The interval of each figure of each set that has one. by_pair: each pair is a unit of its own."""
    found: dict[str, list[Interval]] = {name: [] for name in FIGURES}
    for number, (scores, same, identities) in enumerate(sets):
        units = np.arange(len(scores)).repeat(2).reshape(-1, 2) if by_pair else identities
        draws = resampled(scores, same, units, folds=2, fars=[0.1], replicates=replicates, seed=number)
        for name in FIGURES:
            if (ends := interval(draws[name])) is not None:
                found[name].append(ends)
    return found


def held(found: Iterable[Interval], true: float) -> int:
    """In how many intervals the truth lies."""
    return sum(ends.low <= true <= ends.high for ends in found)
