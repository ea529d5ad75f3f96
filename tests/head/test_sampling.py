"""Sampling: positives always, negatives uniform without replacement, in O(K)."""

import math
import tracemalloc

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from partialfc.head.sampling import sample_rows, sample_size, sample_without_replacement


@st.composite
def requests(draw):
    num_rows = draw(st.integers(1, 400))
    positives = draw(st.lists(st.integers(0, num_rows - 1), max_size=60))
    size = draw(st.integers(0, num_rows))
    return num_rows, np.array(positives, np.int64), size


@given(requests(), st.integers(0, 2**63), st.integers(0, 2**40), st.integers(0, 4096))
def test_a_sample_holds_every_positive_once_and_the_right_number(request_, seed, step, rank):
    num_rows, positives, size = request_
    rows = sample_rows(positives, num_rows, size, seed=seed, step=step, rank=rank)
    assert (np.diff(rows) > 0).all()
    assert np.isin(positives, rows).all()
    assert len(rows) == max(size, len(np.unique(positives)))
    assert len(rows) == 0 or (rows[0] >= 0 and rows[-1] < num_rows)


def test_the_sample_is_a_function_of_its_key():
    positives = np.array([3, 50])

    def draw(**changes):
        return sample_rows(positives, 1000, 100, **({"seed": 1, "step": 2, "rank": 3} | changes))

    np.testing.assert_array_equal(draw(), draw())
    for changes in ({"seed": 2}, {"step": 3}, {"rank": 4}):
        assert not np.array_equal(draw(), draw(**changes))


def chi_square_is_plausible(counts, expected, variance_factor=1.0):
    """Whether sum (count - expected)^2 / expected lies within 5 sigma of its mean, the degrees of freedom."""
    statistic = ((counts - expected) ** 2 / expected).sum() / variance_factor
    freedom = len(counts) - 1
    return abs(statistic - freedom) < 5 * math.sqrt(2 * freedom)


def test_negatives_are_uniform():
    positives = np.array([0, 7, 8, 99])
    for size in (12, 40, 70, 95):
        counts = np.zeros(100)
        draws = 4000
        for step in range(draws):
            counts[sample_rows(positives, 100, size, seed=0, step=step, rank=0)] += 1
        assert (counts[positives] == draws).all()
        negatives = np.delete(counts, positives)
        share = (size - 4) / 96
        # Without replacement a count is binomial with variance share·(1 - share), not share.
        assert chi_square_is_plausible(negatives, draws * share, 1 - share)


def test_every_pair_is_equally_likely():
    counts = {}
    generator = np.random.Generator(np.random.PCG64(1))
    for _ in range(20_000):
        pair = tuple(sample_without_replacement(6, 2, generator))
        counts[pair] = counts.get(pair, 0) + 1
    assert len(counts) == 15
    assert chi_square_is_plausible(np.array(list(counts.values())), 20_000 / 15)


def test_ranks_and_steps_are_independent():
    """Two samples of 10 % share 1 % of the rows, give or take."""
    first = sample_rows(np.empty(0, np.int64), 100_000, 10_000, seed=0, step=0, rank=0)
    for step, rank in ((0, 1), (1, 0)):
        other = sample_rows(np.empty(0, np.int64), 100_000, 10_000, seed=0, step=step, rank=rank)
        assert 850 < len(np.intersect1d(first, other)) < 1150


def test_memory_does_not_depend_on_the_number_of_classes():
    positives = np.arange(0, 100_000_000, 400_000)
    tracemalloc.start()
    rows = sample_rows(positives, 100_000_000, 1000, seed=0, step=0, rank=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(rows) == 1000
    assert peak < 300_000


def test_sample_size_rounds_and_keeps_at_least_one():
    assert sample_size(1000, 0.1) == 100
    assert sample_size(7, 0.5) == 4
    assert sample_size(3, 0.01) == 1
    assert sample_size(0, 0.5) == 0
    assert sample_size(10, 1.0) == 10
