"""Which classes or images are held out: enough to verify on, not too many, and always the same."""

import numpy as np
import pytest

from partialfc.data.split.hold_out import hold_out_classes
from partialfc.errors import ConfigError
from partialfc.suggest.held_out import hold_out


def labels(*sizes):
    return np.repeat(np.arange(len(sizes)), sizes)


@pytest.mark.parametrize(
    ("sizes", "kind", "of"),
    [
        pytest.param([5] * 50, "classes", 10, id="fifty"),
        pytest.param([3] * 300, "classes", 30, id="tenth"),
        pytest.param([2] * 20_000, "classes", 500, id="most"),
        pytest.param([1] * 280 + [2] * 20, "classes", 20, id="few-with-pairs"),
        pytest.param([20, 20], "images", 2, id="two-classes"),
        pytest.param([5] * 49, "images", 49, id="few-classes"),
        pytest.param([1] * 300 + [5] * 9, "images", 9, id="nearly-none-with-pairs"),
    ],
)
def test_whole_classes_or_some_images_of_each(sizes, kind, of):
    given = labels(*sizes)
    held = hold_out(given, classes=None, seed=0)
    assert (held.kind, held.of) == (kind, of)
    out = given[held.indices]
    assert len(np.unique(out)) == of
    left = np.delete(given, held.indices)
    if kind == "classes":
        assert not set(out.tolist()) & set(left.tolist())
    else:
        assert set(out.tolist()) <= set(left.tolist())
    assert np.unique(out, return_counts=True)[1].min() >= 2


@pytest.mark.parametrize(
    "sizes", [[1] * 100, [4] * 10, [50], [30] + [1] * 30], ids=["single", "small", "one-class", "one-large"]
)
def test_nothing_where_no_pairs_could_be_made(sizes):
    assert hold_out(labels(*sizes), classes=None, seed=0) is None


def test_a_fifth_of_the_images_and_at_least_two():
    given = labels(5, 9, 100)
    held = hold_out(given, classes=None, seed=0)
    assert np.bincount(given[held.indices]).tolist() == [2, 2, 20]


def test_the_seed_decides_and_damaged_records_are_left_alone():
    given = labels(*[3] * 60)
    given[[0, 10, 50]] = -1
    first, again, other = (hold_out(given, classes=None, seed=seed) for seed in (1, 1, 2))
    assert first.indices.tolist() == again.indices.tolist()
    assert first.indices.tolist() != other.indices.tolist()
    assert (given[first.indices] >= 0).all()


def test_labels_need_not_be_in_order_nor_without_gaps():
    given = np.random.default_rng(0).permutation(1000 * labels(*[6] * 4))
    held = hold_out(given, classes=None, seed=0)
    assert np.unique(given[held.indices], return_counts=True)[1].tolist() == [2] * 4


def test_as_many_classes_as_asked_for_or_none():
    given = labels(*[2] * 20, 1)
    assert hold_out(given, classes=7, seed=0).of == 7
    assert hold_out(given, classes=19, seed=0).of == 19
    assert hold_out(given, classes=0, seed=0) is None


@pytest.mark.parametrize("classes", [1, 4, 100])
def test_asked_for_more_than_there_are_or_too_few(classes):
    with pytest.raises(ConfigError, match=f"--hold-out is {classes}: it must be 0, or from 2 to 3"):
        hold_out(labels(2, 2, 2, 1, 1), classes=classes, seed=0)


def test_the_classes_are_those_of_data_split():
    given = labels(*[3] * 60)
    held = hold_out(given, classes=12, seed=5)
    assert held.indices.tolist() == np.flatnonzero(hold_out_classes(given, 12, seed=5)).tolist()
