"""Which images a report looks at: as many identities and classes as possible, and always the same ones."""

from collections import Counter

import numpy as np
import pytest

from partialfc.report.run_page.chosen import colours_of, images_by_size, images_for_map, size_bins


@pytest.mark.parametrize("most", [1, 30, 100, 10_000])
def test_a_map_has_the_largest_identities_and_one_of_many_others(most):
    rng = np.random.default_rng(0)
    identities = rng.permutation(np.repeat(np.arange(200), [40] * 8 + [3] * 192))
    chosen = images_for_map(identities, most)
    assert len(chosen) == len(set(chosen.tolist())) <= most
    counts = Counter(identities[chosen].tolist())
    if most == 100:
        assert len(chosen) == 100
        assert [counts[each] for each in range(8)] == [6] * 8
        assert max(counts[each] for each in range(8, 200)) == 1
    if most == 10_000:
        assert [counts[each] for each in range(8)] == [16] * 8
        assert all(counts[each] == 3 for each in range(8, 200))


def test_colours_are_for_those_with_most_images():
    identities = np.repeat([7, 3, 100], [2, 5, 1])
    assert colours_of(identities).tolist() == [1, 1, 0, 0, 0, 0, 0, -1]


def test_bins_cover_each_size_once():
    counts = np.array([0, 1, 1, 3, 5, 100])
    assert size_bins(counts) == [(1, 1), (3, 3), (5, 5), (100, 100)]
    assert size_bins(np.array([], np.int64)) == []
    assert size_bins(np.arange(1, 200)) == [
        (1, 1),
        (2, 3),
        (4, 7),
        (8, 15),
        (16, 31),
        (32, 63),
        (64, 127),
        (128, 199),
    ]


def test_images_of_each_size_are_spread_over_classes():
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(110), [2] * 100 + [50] * 10))
    small, large = images_by_size(labels, 100)
    assert len(small) == len(large) == 50
    assert max(Counter(labels[small].tolist()).values()) == 1
    assert set(Counter(labels[large].tolist()).values()) == {5}
    assert (labels[small] < 100).all()
    again = images_by_size(labels, 100)
    assert [each.tolist() for each in again] == [small.tolist(), large.tolist()]
