"""Sampling: positives always, negatives uniform without replacement, in O(K), at any number of ranks."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partialfc.head import sampling
from partialfc.head.sampling import (
    corrections,
    largest_correction,
    sample_rows,
    sample_size,
    sample_without_replacement,
)
from partialfc.head.shard import ClassShard

NONE = np.empty(0, np.int64)


def draw(num_classes, labels, size, *, ranks=1, **key):
    """The classes that all ranks together draw."""
    shards = [ClassShard(num_classes, rank, ranks) for rank in range(ranks)]
    key = {"seed": 0, "step": 0} | key
    return np.concatenate([shard.start + sample_rows(shard, labels, size, **key) for shard in shards])


@st.composite
def requests(draw):
    num_classes = draw(st.integers(1, 400))
    labels = draw(st.lists(st.integers(0, num_classes - 1), max_size=60))
    size = draw(st.integers(0, num_classes))
    return num_classes, np.array(labels, np.int64), size


@given(requests(), st.integers(0, 2**63), st.integers(0, 2**40), st.integers(1, 7))
def test_a_sample_holds_every_positive_once_and_the_right_number(request_, seed, step, ranks):
    num_classes, labels, size = request_
    classes = draw(num_classes, labels, size, seed=seed, step=step, ranks=ranks)
    assert (np.diff(classes) > 0).all()
    assert np.isin(labels, classes).all()
    assert len(classes) == max(size, len(np.unique(labels)))
    assert len(classes) == 0 or (classes[0] >= 0 and classes[-1] < num_classes)


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.9])
@pytest.mark.parametrize("num_classes", [300_000, 299_993])
def test_any_number_of_ranks_draws_the_same_classes(num_classes, rate):
    """Also where ranks have parts of blocks, and blocks more positives than their part of the sample."""
    size = sample_size(num_classes, rate)
    labels = np.concatenate([np.arange(100_000, 106_000), np.array([0, 5, 5, num_classes - 1])])
    alone = draw(num_classes, labels, size)
    assert len(alone) >= size
    assert np.isin(labels, alone).all()
    for ranks in (2, 3, 7, 64, 1000):
        np.testing.assert_array_equal(draw(num_classes, labels, size, ranks=ranks), alone)


def test_the_sample_is_a_function_of_its_key():
    labels = np.array([3, 50])
    same = draw(1000, labels, 100, seed=1, step=2)
    np.testing.assert_array_equal(draw(1000, labels, 100, seed=1, step=2), same)
    for changes in ({"seed": 2, "step": 2}, {"seed": 1, "step": 3}):
        assert not np.array_equal(draw(1000, labels, 100, **changes), same)


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
            counts[draw(100, positives, size, step=step)] += 1
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


def test_classes_are_equally_likely_where_blocks_cannot_draw_equally_many(monkeypatch):
    """7 blocks of 3 or 4 classes, of which 2 or 3 are drawn."""
    monkeypatch.setattr(sampling, "_number_of_blocks", lambda size: 7)
    counts, draws = np.zeros(25), 4000
    for step in range(draws):
        classes = draw(25, NONE, 16, step=step)
        assert len(classes) == 16
        counts[classes] += 1
    assert chi_square_is_plausible(counts, draws * 16 / 25, 1 - 16 / 25)


def test_blocks_and_steps_are_independent():
    """Two samples of 10 % share 1 % of the rows, give or take."""
    first = draw(200_000, NONE, 20_000)
    other_step = draw(200_000, NONE, 20_000, step=1)
    assert 1750 < len(np.intersect1d(first, other_step)) < 2250
    one_block, other_block = first[first < 50_000], first[first >= 150_000] - 150_000
    assert 420 < len(np.intersect1d(one_block, other_block)) < 580


@pytest.mark.parametrize("ranks", [1, 3])
def test_memory_does_not_depend_on_the_number_of_classes(ranks):
    labels = np.arange(0, 100_000_000, 400_000)
    shard = ClassShard(100_000_000, 0, ranks)
    tracemalloc.start()
    rows = sample_rows(shard, labels, 1000, seed=0, step=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0 < len(rows) <= 1000
    assert peak < 300_000


def test_sample_size_rounds_and_keeps_at_least_one():
    assert sample_size(1000, 0.1) == 100
    assert sample_size(7, 0.5) == 4
    assert sample_size(3, 0.01) == 1
    assert sample_size(0, 0.5) == 0
    assert sample_size(10, 1.0) == 10


def corrected(num_classes, labels, size, *, ranks, step):
    """The classes that all ranks together draw, and their corrections."""
    found = []
    for rank in range(ranks):
        shard = ClassShard(num_classes, rank, ranks)
        rows = sample_rows(shard, labels, size, seed=0, step=step)
        found.append((shard.start + rows, corrections(shard, labels, rows, size, seed=0, step=step)))
    return tuple(np.concatenate(each) for each in zip(*found, strict=True))


@pytest.mark.parametrize("step", [0, 5])
@pytest.mark.parametrize("rate", [0.1, 0.6, 0.9])
@pytest.mark.parametrize("num_classes", [1000, 99_991])
def test_drawn_classes_stand_for_all(num_classes, rate, step):
    """Each for 1 / its probability: in every block exactly as many as there are, at any number of ranks."""
    generator = np.random.default_rng(step)
    labels = generator.integers(num_classes // 3, size=40)  # in some blocks alone
    size = sample_size(num_classes, rate)
    classes, found = corrected(num_classes, labels, size, ranks=1, step=step)
    blocks = sampling._number_of_blocks(size)
    assert (blocks > 1) == (num_classes > 1000)
    edges = [block * num_classes // blocks for block in range(blocks + 1)]
    stands_for, _ = np.histogram(classes, edges, weights=np.exp(found))
    np.testing.assert_allclose(stands_for, np.diff(edges))
    assert (found[np.isin(classes, labels)] == 0).all()
    assert (found >= 0).all()
    assert found.max() <= largest_correction(num_classes, size)
    for ranks in (2, 3):
        again, others = corrected(num_classes, labels, size, ranks=ranks, step=step)
        np.testing.assert_array_equal(again, classes)
        np.testing.assert_array_equal(others, found)


def test_no_rows_have_no_corrections():
    assert len(corrections(ClassShard(2, 2, 3), NONE, NONE, 1, seed=0, step=0)) == 0
