"""Batches for a class pool: half of them pairs of an identity, half any images, from any position on."""

import numpy as np
import pytest

from partialfc.data.loading.half_identities import HalfIdentities, become_features
from partialfc.errors import ConfigError

BATCH = 16
LABELS = np.repeat(np.arange(10), [1, 2, 3, 4, 5, 6, 7, 8, 9, 15])


def order(labels=LABELS, seed=0):
    return HalfIdentities(labels, global_batch=BATCH, seed=seed)


def batches(count, first=0, labels=LABELS):
    made = order(labels)
    return np.array([made.samples(n * BATCH, 0, BATCH) for n in range(first, first + count)])


def test_a_group_is_two_images_of_an_identity_and_two_of_any():
    of_batches = LABELS[batches(60)].reshape(60, BATCH // 4, 4)
    assert (of_batches[..., 0] == of_batches[..., 1]).all()
    for batch in of_batches:
        assert len(set(batch[:, 0].tolist())) == BATCH // 4


def test_pairs_are_two_images_where_an_identity_has_two():
    groups = batches(60).reshape(-1, 4)
    alone = LABELS[groups[:, 0]] == 0
    assert (groups[~alone, 0] != groups[~alone, 1]).all()


def test_any_images_are_all_images_once_an_epoch():
    """60 images, 8 of a batch."""
    instances = batches(15).reshape(-1, 4)[:, 2:].flatten()
    for epoch in instances.reshape(2, 60):
        assert sorted(epoch.tolist()) == list(range(60))


def test_any_part_of_any_batch_is_what_it_is_in_the_stream():
    whole, later = batches(9), order()
    for number, start, stop in ((8, 0, 16), (3, 1, 7), (4, 5, 6), (0, 10, 16), (8, 3, 13), (2, 4, 4)):
        assert later.samples(number * BATCH, start, stop) == whole[number, start:stop].tolist()


def test_damaged_records_take_no_part():
    labels = LABELS.copy()
    labels[[4, 30, 59]] = -1
    assert not {4, 30, 59} & set(batches(60, labels=labels).flatten().tolist())


def test_the_seed_changes_both_halves():
    one, other = (np.array(order(seed=seed).samples(0, 0, BATCH)).reshape(-1, 2, 2) for seed in (0, 1))
    assert (one[:, 0] != other[:, 0]).any()
    assert (one[:, 1] != other[:, 1]).any()


@pytest.mark.parametrize("size", [0, 2, 6])
def test_a_batch_of_no_whole_groups_is_refused(size):
    with pytest.raises(ConfigError, match=rf"train.batch_size\) is {size}: .* a multiple of 4"):
        HalfIdentities(LABELS, global_batch=size, seed=0)


def test_a_batch_of_more_identities_than_there_are_is_refused():
    with pytest.raises(ConfigError, match=r"the data has images of 2: lower it to 8 or less"):
        HalfIdentities(np.repeat([0, 1], 9), global_batch=12, seed=0)


def test_the_first_of_each_group_becomes_a_feature():
    assert np.flatnonzero(become_features(3, 14)).tolist() == [1, 5, 9]
