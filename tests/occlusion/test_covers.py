import numpy as np
import pytest

from partialfc.occlusion.covers import FILLS, cells, cover


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_rectangle_of_the_asked_area_is_covered_and_nothing_else(fill, channels):
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 255, (24, 24, channels), np.uint8)
    before = pixels.copy()
    for _ in range(50):
        covered, where = cover(pixels, rng, fill=fill)
        assert np.array_equal(covered[~where], before[~where])
        assert 0.12 < where.mean() < 0.4
        inside = covered[where]
        assert {"white": (inside == 255).all(), "black": (inside == 0).all()}.get(fill, True)
        assert (len(np.unique(inside)) == 1) == (fill != "noise")
    assert np.array_equal(pixels, before)


def test_the_smallest_images_are_covered_too():
    covered, where = cover(np.ones((1, 1, 1), np.uint8), np.random.default_rng(0), fill="black")
    assert where.all()
    assert not covered.any()


def test_a_cell_counts_as_covered_from_half_on():
    where = np.zeros((6, 7), np.bool_)
    where[:3, :2] = True
    assert cells(where, 3, 3).tolist() == [[True, False, False], [True, False, False], [False] * 3]
    assert cells(where[None], 6, 7)[0].tolist() == where.tolist()
