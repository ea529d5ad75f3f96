"""Which centres of a shard take part in a step.

A pure function of (seed, step, rank, labels), O(K) in time and memory for K participating rows:
nothing here has the length of the shard. Partial FC, An et al. 2022 (arXiv:2203.15565), section 3.3.
"""

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]


def sample_size(num_rows: int, sample_rate: float) -> int:
    """How many of a shard's rows take part unless the positives need more: round(r·C_l), at least one."""
    return min(num_rows, max(1, round(sample_rate * num_rows)))


def sample_rows(positives: Rows, num_rows: int, size: int, *, seed: int, step: int, rank: int) -> Rows:
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


def sample_without_replacement(population: int, size: int, generator: np.random.Generator) -> Rows:
    """A uniform `size`-subset of 0..population-1, sorted; O(size) memory for any population."""
    if 2 * size > population:  # then the complement is the smaller set to draw
        dropped = sample_without_replacement(population, population - size, generator)
        return _skip(np.arange(size), dropped)
    drawn = np.empty(0, np.int64)
    while len(drawn) < size:
        # This many draws with replacement hit `missing` new values on average; 4 % and a few more make
        # a second round rare, and the loop makes it harmless.
        free, missing = population - len(drawn), size - len(drawn)
        draws = int(-population * np.log1p(-missing / free) * 1.04) + 16
        drawn = _sorted_distinct(np.concatenate([drawn, generator.integers(population, size=draws)]))
    # Given how many distinct values came up, every set of that many is equally likely, and so is every
    # subset after a uniform choice of the ones to leave out.
    surplus = generator.choice(len(drawn), size=len(drawn) - size, replace=False, shuffle=False)
    return np.delete(drawn, surplus)


def _sorted_distinct(values: Rows) -> Rows:
    values = np.sort(values)
    keep = np.empty(len(values), np.bool_)
    keep[:1] = True
    np.not_equal(values[1:], values[:-1], out=keep[1:])
    return values[keep]


def _skip(ranks: Rows, excluded: Rows) -> Rows:
    """The ranks-th of the integers 0, 1, 2, ... that are not in `excluded` (sorted, distinct)."""
    return ranks + np.searchsorted(excluded - np.arange(len(excluded)), ranks, side="right")
