"""Batches of identities: whole in every batch, every image used equally often, one stream for all ranks."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partialfc.data.loading.identities import Identities, at_most_one_a_batch
from partialfc.data.loading.sampler import BatchSampler
from partialfc.errors import ConfigError

# Numbers of images of the identities, P of which make a batch of P x K.
cases = st.tuples(
    st.lists(st.integers(1, 30), min_size=1, max_size=12), st.integers(1, 6), st.integers(1, 5)
).filter(lambda case: case[1] <= len(case[0]))
seeds = st.integers(0, 2**64)


def labels_of(sizes: list[int], seed: int | None = None) -> np.ndarray:
    """Class ids 0, 10, 20, ... of so many images each; in no order where there is a seed."""
    labels = np.repeat(10 * np.arange(len(sizes)), sizes).astype(np.int32)
    return labels if seed is None else np.random.default_rng(seed % 2**32).permutation(labels)


def batches_of(order: Identities, batch: int, count: int, first: int = 0) -> list[list[int]]:
    return [order.samples(number * batch, 0, batch) for number in range(first, first + count)]


def check_batch(batch: list[int], labels: np.ndarray, per_identity: int) -> None:
    """K of one identity after K of another, each identity once, no image twice where that can be."""
    groups = [batch[at : at + per_identity] for at in range(0, len(batch), per_identity)]
    identities = [set(labels[group].tolist()) for group in groups]
    assert all(len(ids) == 1 for ids in identities)
    assert len(set.union(*identities)) == len(groups)
    for group in groups:
        size = int((labels == labels[group[0]]).sum())
        counts = Counter(group).values()
        assert len(counts) == min(size, per_identity)
        assert max(counts) - min(counts) <= 1


@settings(deadline=None)
@given(case=cases, seed=seeds, number=st.integers(0, 1000))
def test_every_batch_has_p_identities_with_k_images_each(case, seed, number):
    sizes, per_batch, per_identity = case
    labels, batch = labels_of(sizes, seed), per_batch * per_identity
    order = Identities(labels, global_batch=batch, images_per_identity=per_identity, seed=seed)
    for each in batches_of(order, batch, 20, number):
        check_batch(each, labels, per_identity)


@settings(deadline=None)
@given(
    visits=st.lists(st.integers(1, 6), min_size=4, max_size=12),
    per_identity=st.integers(1, 5),
    seed=seeds,
    number=st.integers(0, 30),
)
def test_a_round_holds_every_image_once_where_batches_and_images_come_out_even(
    visits, per_identity, seed, number
):
    """Each identity's images are a multiple of K, and all visits together a multiple of P = 2."""
    if sum(visits) % 2:
        visits[0] += 1
    if 2 * max(visits) > sum(visits):
        return
    labels = labels_of([count * per_identity for count in visits])
    batch, batches = 2 * per_identity, sum(visits) // 2
    order = Identities(labels, global_batch=batch, images_per_identity=per_identity, seed=seed)
    seen = [index for each in batches_of(order, batch, batches, number * batches) for index in each]
    assert sorted(seen) == list(range(len(labels)))


@settings(deadline=None, max_examples=50)
@given(case=cases, seed=seeds)
def test_at_the_end_of_any_round_the_images_of_an_identity_were_used_equally_often_or_once_more(case, seed):
    sizes, per_batch, per_identity = case
    labels, batch = labels_of(sizes), per_batch * per_identity
    order = Identities(labels, global_batch=batch, images_per_identity=per_identity, seed=seed)
    used = np.zeros(len(labels), int)
    for number in range(6):
        for each in batches_of(order, batch, order.round_batches, number * order.round_batches):
            np.add.at(used, each, 1)
        for identity in np.unique(labels):
            assert np.ptp(used[labels == identity]) <= 1


def test_over_many_rounds_all_images_are_used_equally_often():
    """Few images or many, a multiple of K or not, up to those of two visits."""
    sizes = [1, 2, 3, 4, 5, 6, 7, 9, 11, 13, 25, 3, 1, 2, 8, 21]
    labels = labels_of(sizes)
    order = Identities(labels, global_batch=16, images_per_identity=4, seed=5)
    batches = 300 * order.round_batches
    times = batches * 16 / len(labels)
    used = np.zeros(len(labels), int)
    for batch in batches_of(order, 16, batches):
        np.add.at(used, batch, 1)
    for identity, size in zip(np.unique(labels), sizes, strict=True):
        of_identity = used[labels == identity]
        assert np.ptp(of_identity) <= 1
        assert abs(of_identity.mean() - times) <= 2 * 4 / size


def test_an_identity_with_most_images_is_in_every_batch_and_the_others_take_the_rest():
    assert at_most_one_a_batch(np.array([1000, 5, 5, 5, 5]), 2).tolist() == [20, 5, 5, 5, 5]
    assert at_most_one_a_batch(np.array([1000, 900, 5, 3]), 3).tolist() == [8, 8, 5, 3]
    assert at_most_one_a_batch(np.array([3, 9]), 2).tolist() == [3, 3]
    labels = labels_of([1000, 4, 4, 4, 4])
    order = Identities(labels, global_batch=8, images_per_identity=4, seed=0)
    for batch in batches_of(order, 8, 12):
        check_batch(batch, labels, 4)
        assert 0 in labels[batch]


def test_groups_companions_and_the_order_change_from_round_to_round():
    labels = labels_of([8] * 6)
    order = Identities(labels, global_batch=12, images_per_identity=4, seed=0)
    rounds = [batches_of(order, 12, 4, 4 * number) for number in range(20)]
    groups = {
        tuple(sorted(batch[at : at + 4])) for batches in rounds for batch in batches for at in (0, 4, 8)
    }
    assert len(groups) > 150  # of 240: there are 70 for each identity, and they come at random
    companions = {frozenset(labels[batch].tolist()) for batches in rounds for batch in batches}
    assert len(companions) == 20  # every choice of 3 of 6
    other = Identities(labels, global_batch=12, images_per_identity=4, seed=1)
    assert batches_of(other, 12, 4) != rounds[0]


def test_the_order_is_pinned_because_a_resume_depends_on_it():
    order = Identities(labels_of([2, 3, 4, 5]), global_batch=6, images_per_identity=3, seed=7)
    assert batches_of(order, 6, 2) == [[9, 13, 11, 6, 5, 7], [2, 4, 3, 12, 10, 9]]
    assert batches_of(order, 6, 1, 100) == [[12, 9, 13, 4, 2, 3]]


@settings(deadline=None)
@given(case=cases, seed=seeds, world_size=st.integers(1, 3), stop=st.integers(0, 9), other=st.integers(1, 3))
def test_a_resume_at_any_world_size_goes_on_with_the_same_samples(case, seed, world_size, stop, other):
    sizes, per_batch, per_identity = case
    labels, batch = labels_of(sizes, seed), per_batch * per_identity

    def together(ranks: int, position: int, count: int) -> list[tuple[int, int]]:
        samplers = [
            BatchSampler(
                Identities(labels, global_batch=batch, images_per_identity=per_identity, seed=seed),
                global_batch=batch,
                rank=rank,
                world_size=ranks,
                position=position,
            )
            for rank in range(ranks)
        ]
        taken = islice(zip(*samplers, strict=True), count)
        return [pair for parts in taken for part in parts for pair in part]

    world_size, other = min(world_size, batch), min(other, batch)
    straight = together(1, 0, 12)
    assert [position for _, position in straight] == list(range(12 * batch))
    assert together(world_size, 0, stop) + together(other, stop * batch, 12 - stop) == straight


def test_batches_stay_whole_where_a_run_goes_on_with_another_batch_size():
    labels = labels_of([5] * 10)
    order = Identities(labels, global_batch=12, images_per_identity=3, seed=0)
    sampler = BatchSampler(order, global_batch=12, position=31)
    taken = list(islice(sampler, 10))
    for batch in taken:
        check_batch([index for index, _ in batch], labels, 3)
    assert [position for batch in taken for _, position in batch] == list(range(31, 151))


def test_samples_without_a_label_take_no_part():
    labels = np.array([-1, 4, 4, -1, 7, 7, 9, 9, -1])
    order = Identities(labels, global_batch=4, images_per_identity=2, seed=0)
    assert {index for batch in batches_of(order, 4, 30) for index in batch} == {1, 2, 4, 5, 6, 7}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"images_per_identity": 5},
            "images_per_identity is 5: it must be at least 1 and divide the batch of 12",
        ),
        ({"images_per_identity": 0}, "images_per_identity is 0: it must be at least 1"),
        (
            {"images_per_identity": 2},
            "a batch of 12 with 2 images per identity needs 6 identities, .* has images of 5: lower",
        ),
        ({"labels": np.full(3, -1)}, "the data has images of 0"),
        ({"labels": np.empty(0, np.int32)}, "the data has images of 0"),
        ({"seed": -1}, "seed is -1: it must be 0 or more"),
    ],
    ids=["does not divide", "none", "too few identities", "all damaged", "empty", "seed"],
)
def test_what_makes_no_batches_is_refused_in_words(changes, message):
    good = {"labels": labels_of([4] * 5), "global_batch": 12, "images_per_identity": 3, "seed": 0}
    arguments = good | changes
    with pytest.raises(ConfigError, match=message):
        Identities(arguments.pop("labels"), **arguments)


def test_a_sample_takes_few_bytes():
    """Of 200,000: the grouping, 4 where labels do not ascend, and a K-th of 4 for the turns of a round."""
    sizes = [100] * 2000
    kept = {}
    for name, labels in (("ascending", labels_of(sizes)), ("mixed", labels_of(sizes, 0))):
        order = Identities(labels, global_batch=64, images_per_identity=4, seed=0)
        order.samples(0, 0, 64)
        parts = [value for value in vars(order).values() if isinstance(value, np.ndarray)]
        kept[name] = sum(part.nbytes for part in parts) / len(labels)
    assert kept["ascending"] < 2
    assert kept["mixed"] < 6
