"""Bootstrap intervals whose unit is the identity, not the pair; pure NumPy.

Pairs of one identity, and pairs that share one, depend on each other: an unlucky photograph fails in all of
its pairs. So identities are drawn, with replacement, as many as there are, and an identity that was drawn c
times counts c times. A pair of one identity then has the weight c, a pair between two of them the product of
both counts. For genuine pairs this is the subsets bootstrap (Bolle, Ratha and Pankanti 2004, "Error analysis
of pattern recognition systems: the subsets bootstrap", CVIU 93); for pairs of two identities it is the vertex
bootstrap (Snijders and Borgatti 1999; Fogliato, Patil and Perona 2024, "Confidence Intervals for Error Rates
in 1:1 Matching Tasks", section 4, IJCV) without the pairs between two copies of one identity, for which there
are no scores. Where each identity stands in many pairs, this gives the variance that the identities cause.
Where each stands in few, it gives up to three times the variance of impostor pairs (Owen and Eckles 2012,
"Bootstrapping data arrays of arbitrary order", section 4): intervals are then too wide, never too narrow.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

LEVEL = 0.95
CHUNK = 4_000_000  # weights in memory at a time


class Interval(NamedTuple):
    """The ends of an interval, in the unit of its figure."""

    low: float
    high: float


def draw_counts(identities: int, replicates: int, seed: int, *, row: int) -> Iterator[np.ndarray]:
    """How often each of G identities is drawn: counts [b, G], int32, for some replicates at a time.

    row: how many weights the caller makes of one replicate, which sets b. The b add up to `replicates`. The
    counts are a function of `identities`, `replicates` and `seed` alone, whatever `row` is.
    """
    rng = np.random.default_rng(seed)
    step = max(1, CHUNK // max(row, identities, 1))
    for start in range(0, replicates, step):
        size = min(step, replicates - start)
        drawn = rng.integers(identities, size=(size, identities))
        drawn += identities * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * identities)
        yield counts.reshape(size, identities).astype(np.int32)


def pair_weights(counts: np.ndarray, identities: np.ndarray) -> np.ndarray:
    """counts [b, G] and the identities [P, 2] of both sides of P pairs -> weights [b, P], int32."""
    first, second = identities[:, 0], identities[:, 1]
    weights: np.ndarray = counts[:, first] * np.where(first == second, 1, counts[:, second])
    return weights


def interval(values: np.ndarray, *, level: float = LEVEL) -> Interval | None:
    """The figure [R] of each replicate -> the interval between its quantiles (the percentile interval).

    A replicate where the figure is not defined is NaN, and left out. None where more than half are: then
    there are too few identities to say anything.
    """
    defined = values[~np.isnan(values)]
    if len(defined) * 2 < len(values) or not len(defined):
        return None
    tail = (1 - level) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Interval(float(low), float(high))


def without_errors(identities: int, *, level: float = LEVEL) -> float:
    """The rate of errors that n identities without any error do not rule out: 1 - (tail)^(1 / n).

    Where a set shows no error, no replicate does either, and the bootstrap's interval has no width. Then the
    interval of Clopper and Pearson (1934) for 0 errors of n is taken, an identity being right or wrong as a
    whole, which is as wide as any dependence within identities can make it.
    """
    tail: float = (1 - level) / 2
    return float(1 - tail ** (1 / identities)) if identities else 1.0
