"""Near images within a class and across classes, compared with all pairs of images."""

import numpy as np
import pytest

from partialfc.data.check.near import near_groups
from tests.data.check.test_hamming import flocks


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("distance", [0, 4])
def test_groups_are_those_of_all_pairs(seed, distance):
    rng = np.random.default_rng(seed)
    hashes = flocks(seed)
    hashes = np.concatenate([hashes, rng.choice(hashes, 40)])  # equal ones too
    labels = rng.integers(0, 3, len(hashes))
    near = np.bitwise_count(hashes[:, None] ^ hashes[None]) <= distance
    np.fill_diagonal(near, False)
    same = labels[:, None] == labels[None]
    found = near_groups(hashes, labels, distance=distance)

    within = {place for group in found.within for place, _ in group}
    assert within == set(np.flatnonzero((near & same).any(axis=1)).tolist())
    for group in found.within:
        places = [place for place, _ in group]
        kept = [place for place, keep in group if keep]
        assert places == sorted(places)
        assert len(set(labels[places].tolist())) == 1
        assert kept[0] == places[0]
        assert not near[np.ix_(kept, kept)].any()
        assert all(near[place, kept].any() for place, keep in group if not keep)

    across = {place for group in found.across for place in group}
    assert across == set(np.flatnonzero((near & ~same).any(axis=1)).tolist())
    for group in found.across:
        assert group == sorted(group)
        assert len(set(labels[group].tolist())) > 1
        outside = [place for place in sorted(across) if place not in group]
        assert not (near & ~same)[np.ix_(group, outside)].any()


def test_no_images_have_no_groups():
    found = near_groups(np.zeros(0, np.uint64), np.zeros(0, np.int64), distance=4)
    assert (found.within, found.across) == ([], [])
