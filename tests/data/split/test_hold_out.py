"""What is held out: drawn by a seed, the same share of every class, and always something left to train on."""

import numpy as np
import pytest

from partialfc.data.split.hold_out import hold_out_classes, hold_out_images
from partialfc.errors import DataError


def labels(*sizes: int, seed: int = 0) -> np.ndarray:
    """So many of class 0, 1, ...; in no order."""
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))


@pytest.mark.parametrize(("amount", "wanted"), [(3, 3), (0.25, 5), (0.9, 18), (1, 1)])
def test_whole_classes_are_held_out(amount, wanted):
    ids = labels(*([4] * 18), 1, 0, 1)
    held = hold_out_classes(ids, amount, seed=1)
    assert len(np.unique(ids[held])) == wanted
    assert not set(ids[held].tolist()) & set(ids[~held].tolist())
    assert not {18, 20} & set(ids[held].tolist())  # one image makes no pair


def test_a_seed_gives_one_split_and_another_seed_another():
    ids = labels(*([4] * 40))
    for hold_out in (hold_out_classes, hold_out_images):
        first, again, other = (hold_out(ids, 0.25, seed=seed) for seed in (1, 1, 2))
        assert (first == again).all()
        assert (first != other).any()


def test_classes_that_are_too_few_are_an_error():
    ids = labels(3, 3, 1)
    for amount, number in ((3, 3), (7, 7), (0.01, 0)):
        with pytest.raises(
            DataError, match=rf"^{number} of 3 classes cannot be held out: .* 2 have 2 images"
        ):
            hold_out_classes(ids, amount, seed=0)
    assert hold_out_classes(ids, 2, seed=0).sum() == 6
    with pytest.raises(DataError, match="1 of 1 classes cannot be held out"):
        hold_out_classes(labels(5), 1, seed=0)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("seed", range(3))
def test_a_share_of_the_images_is_that_share_of_each_class(share, seed):
    sizes = np.random.default_rng(seed).integers(1, 40, 60)
    ids = labels(*sizes, seed=seed)
    held = np.bincount(ids[hold_out_images(ids, share, seed=seed)], minlength=len(sizes))
    exact = share * sizes
    assert (held < sizes).all()
    assert ((held >= np.floor(exact)) | (held == sizes - 1)).all()
    assert (held <= np.ceil(exact)).all()
    kept_back = np.maximum(0, np.ceil(exact) - (sizes - 1)).sum()  # of classes that would have none left
    assert round(exact.sum()) - kept_back <= held.sum() <= round(exact.sum())


def test_a_number_of_images_is_that_of_each_class_as_far_as_it_has_them():
    ids = labels(10, 3, 2, 1, 0, 5)
    held = np.bincount(ids[hold_out_images(ids, 2, seed=0)], minlength=6)
    assert held.tolist() == [2, 2, 1, 0, 0, 2]


def test_each_image_is_held_out_as_often_as_others():
    ids = labels(10, 5)
    times = sum(hold_out_images(ids, 1, seed=seed).astype(int) for seed in range(400))
    assert (np.abs(times[ids == 0] - 40) < 25).all()
    assert (np.abs(times[ids == 1] - 80) < 35).all()


def test_damaged_records_are_never_held_out():
    ids = np.concatenate([labels(4, 4), np.full(5, -1)])
    assert not hold_out_images(ids, 2, seed=0)[8:].any()
    assert not hold_out_classes(ids, 1, seed=0)[8:].any()
    assert hold_out_images(ids, 0.5, seed=0).sum() == 4


def test_images_that_are_too_few_are_an_error():
    for ids in (labels(1, 1), np.full(3, -1)):
        with pytest.raises(DataError, match=r"no image can be held out: of . classes, 0 have 2 images"):
            hold_out_images(ids, 1, seed=0)
