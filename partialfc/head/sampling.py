"""Which centres of a shard take part in a step.

A pure function of (seed, step, rank, labels), O(K) in time and memory for K participating rows:
nothing here has the length of the shard. Partial FC, An et al. 2022 (arXiv:2203.15565), section 3.3.
"""

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


def sample_size(num_rows: int, sample_rate: float) -> int:
    """How many of a shard's rows take part, if its positives are not more: round(r·C_l), at least one."""
    return min(num_rows, max(1, round(sample_rate * num_rows)))


def sample_rows(positives: Indices, num_rows: int, size: int, *, seed: int, step: int, rank: int) -> Indices:
    """Every positive, and negatives uniform without replacement among the other rows, up to `size` in all.

    positives [T] local rows, repeats allowed -> sorted distinct rows [K], K = max(size, distinct positives).
    """
    positives = np.unique(positives)
    wanted = size - len(positives)
    if wanted <= 0:
        return positives
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, step, rank))))
    negatives = sample_without_replacement(num_rows - len(positives), wanted, generator)
    return np.sort(np.concatenate([positives, _skip(negatives, positives)]))


def sample_without_replacement(population: int, size: int, generator: np.random.Generator) -> Indices:
    """A uniform `size`-subset of 0..population-1, sorted; O(size) memory for any population."""
    if 2 * size > population:  # fewer are left out than drawn, so draw those
        dropped = sample_without_replacement(population, population - size, generator)
        return _skip(np.arange(size), dropped)
    drawn = np.empty(0, np.int64)
    while len(drawn) < size:
        # So many draws with replacement bring `missing` new values on average. 4 % and 16 more make a second
        # round rare; where it is needed, the loop goes on.
        free, missing = population - len(drawn), size - len(drawn)
        draws = int(-population * np.log1p(-missing / free) * 1.04) + 16
        drawn = _sorted_distinct(np.concatenate([drawn, generator.integers(population, size=draws)]))
    # Every set of so many distinct values was equally likely to be drawn, and which of them are left out is
    # uniform too, so every set of `size` is equally likely.
    surplus = generator.choice(len(drawn), size=len(drawn) - size, replace=False, shuffle=False)
    return np.delete(drawn, surplus)


def _sorted_distinct(values: Indices) -> Indices:
    values = np.sort(values)
    keep = np.empty(len(values), np.bool_)
    keep[:1] = True
    np.not_equal(values[1:], values[:-1], out=keep[1:])
    return values[keep]


def _skip(positions: Indices, excluded: Indices) -> Indices:
    """What stands at `positions` of 0, 1, 2, ... without `excluded` (sorted, distinct); they count from 0."""
    return positions + np.searchsorted(excluded - np.arange(len(excluded)), positions, side="right")
