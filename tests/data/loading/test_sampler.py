"""The global stream: every sample once an epoch, the same for every world size, from any position."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partialfc.data.loading.sampler import BatchSampler, Shuffled, epoch_order, split_batch
from partialfc.errors import CheckpointError, ConfigError

sizes = st.integers(1, 60)
seeds = st.integers(0, 2**64)
worlds = st.integers(1, 5)


def stream(num_samples: int, seed: int, length: int) -> list[tuple[int, int]]:
    """The plain twin: concatenate whole epochs, number the samples."""
    indices: list[int] = []
    epoch = 0
    while len(indices) < length:
        indices += epoch_order(num_samples, seed, epoch).tolist()
        epoch += 1
    return list(zip(indices[:length], range(length), strict=True))


@given(num_samples=sizes, seed=seeds, epoch=st.integers(0, 10**6))
def test_an_epoch_holds_each_sample_exactly_once(num_samples, seed, epoch):
    order = epoch_order(num_samples, seed, epoch)
    assert sorted(order.tolist()) == list(range(num_samples))
    assert (order == epoch_order(num_samples, seed, epoch)).all()


def test_an_epoch_takes_four_bytes_a_sample():
    assert epoch_order(1000, seed=0, epoch=0).nbytes == 4000


def test_epochs_and_seeds_differ():
    keys = [(0, 0), (0, 1), (1, 0), (1, 1), (2**32, 0), (2**32 + 1, 0), (0, 2**32)]
    orders = {tuple(epoch_order(50, seed, epoch).tolist()) for seed, epoch in keys}
    assert len(orders) == len(keys)


def test_the_order_is_pinned_because_a_resume_depends_on_it():
    assert epoch_order(10, seed=0, epoch=0).tolist() == [4, 9, 8, 7, 5, 3, 0, 1, 2, 6]
    assert epoch_order(10, seed=7, epoch=3).tolist() == [4, 3, 5, 1, 6, 2, 8, 0, 7, 9]


def test_every_sample_is_equally_likely_at_every_place():
    num_samples, epochs = 8, 4000
    counts = np.zeros((num_samples, num_samples))
    for epoch in range(epochs):
        counts[np.arange(num_samples), epoch_order(num_samples, 0, epoch)] += 1
    expected = epochs / num_samples
    chi_square = ((counts - expected) ** 2 / expected).sum()
    # Rows and columns both sum to `epochs`: 8/7 of a chi-square of 7 * 7 degrees of freedom, at 99.9 %.
    assert chi_square < 8 / 7 * 85.4


def test_every_order_is_equally_likely():
    epochs = 6000
    orders = [tuple(epoch_order(3, 1, epoch).tolist()) for epoch in range(epochs)]
    counts = np.array([orders.count(order) for order in set(orders)])
    assert len(counts) == 6
    assert ((counts - epochs / 6) ** 2 / (epochs / 6)).sum() < 20.6  # 5 degrees of freedom, 99.9 %


@given(world_size=worlds, extra=st.integers(0, 40))
def test_split_batch_is_balanced_contiguous_and_complete(world_size, extra):
    global_batch = world_size + extra
    ranges = [split_batch(global_batch, rank, world_size) for rank in range(world_size)]
    assert [start for start, _ in ranges] == [0] + [stop for _, stop in ranges[:-1]]
    assert ranges[-1][1] == global_batch
    lengths = [stop - start for start, stop in ranges]
    assert min(lengths) >= 1
    assert max(lengths) - min(lengths) <= 1


@settings(deadline=None)
@given(n=sizes, seed=seeds, world_size=worlds, extra=st.integers(0, 30), position=st.integers(0, 200))
def test_ranks_together_give_the_global_stream_from_any_position(n, seed, world_size, extra, position):
    size, batches = world_size + extra, 4
    ranks = [
        BatchSampler(
            Shuffled(n, seed=seed), global_batch=size, rank=rank, world_size=world_size, position=position
        )
        for rank in range(world_size)
    ]
    seen = [pair for parts in islice(zip(*ranks, strict=True), batches) for part in parts for pair in part]
    assert seen == stream(n, seed, position + batches * size)[position:]


def test_a_state_saved_at_one_world_size_resumes_at_another():
    first = BatchSampler(Shuffled(17, seed=3), global_batch=6)
    before = [pair for batch in islice(first, 5) for pair in batch]
    state = first.state_dict()
    assert state == {"position": 30}
    ranks = [
        BatchSampler(Shuffled(17, seed=3), global_batch=10, rank=rank, world_size=3) for rank in range(3)
    ]
    for sampler in ranks:
        sampler.load_state_dict(state)
    after = [pair for parts in islice(zip(*ranks, strict=True), 4) for part in parts for pair in part]
    assert before + after == stream(17, 3, 70)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_samples": 0}, "num_samples is 0"),
        ({"global_batch": 0}, "global_batch is 0, world_size is 1"),
        ({"global_batch": 2, "world_size": 3}, "global_batch is 2, world_size is 3.*raise global_batch to 3"),
        ({"rank": 1}, r"rank is 1: it must be 0\.\.0 for world_size 1"),
        ({"rank": -1, "world_size": 2}, "rank is -1"),
        ({"seed": -1}, "seed is -1: it must be 0 or more"),
        ({"position": -5}, "position is -5: it must be 0 or more"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    good = {"num_samples": 5, "global_batch": 4, "seed": 0}
    given = good | arguments
    num_samples, seed = given.pop("num_samples"), given.pop("seed")
    with pytest.raises(ConfigError, match=message):
        BatchSampler(Shuffled(num_samples, seed=seed), **given)


@pytest.mark.parametrize("state", [{}, {"position": -1}, {"position": 1.5}, {"position": True}, {"step": 3}])
def test_a_damaged_state_is_refused(state):
    sampler = BatchSampler(Shuffled(5, seed=0), global_batch=4)
    with pytest.raises(CheckpointError, match="'position' must be the number of samples read so far"):
        sampler.load_state_dict(state)
