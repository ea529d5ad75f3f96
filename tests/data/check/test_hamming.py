"""Near pairs of hashes: exactly those that comparing all pairs finds, each once."""

import numpy as np
import pytest

from partialfc.data.check import hamming
from partialfc.data.check.hamming import MOST, near_pairs


def found(hashes: np.ndarray, distance: int) -> list[tuple[int, int]]:
    return sorted((int(a), int(b)) for pairs in near_pairs(hashes, distance) for a, b in pairs)


def all_pairs(hashes: np.ndarray, distance: int) -> list[tuple[int, int]]:
    differ = np.bitwise_count(hashes[:, None] ^ hashes[None])
    return [(int(a), int(b)) for a, b in np.argwhere(differ <= distance) if a < b]


def flocks(seed: int) -> np.ndarray:
    """Random hashes, and beside each some that differ from it in 0 to 20 bits; in no order."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 1 << 64, 60, np.uint64, endpoint=False)
    copies = [hashes]
    for _ in range(4):
        changed = hashes.copy()
        for place in range(len(hashes)):
            for bit in rng.choice(64, rng.integers(0, 21), replace=False):
                changed[place] ^= np.uint64(1 << int(bit))
        copies.append(changed)
    return rng.permutation(np.concatenate(copies))


@pytest.mark.parametrize(
    ("distance", "equal"),
    [(distance, equal) for distance in range(MOST + 1) for equal in (1, 2, 3) if distance < 9 or equal == 1],
)
def test_all_near_pairs_are_found_once(monkeypatch, distance, equal):
    """With any number of bands that must be equal, which is chosen by the number of hashes."""
    monkeypatch.setattr(hamming, "_bands_to_be_equal", lambda count, distance: equal)
    hashes = flocks(distance)
    assert found(hashes, distance) == all_pairs(hashes, distance)


def test_many_equal_and_no_hashes():
    same = np.full(50, 2**63 + 1, np.uint64)
    assert found(same, 0) == all_pairs(same, 0)
    assert len(found(same, 4)) == 50 * 49 // 2
    assert found(same[:1], 4) == found(same[:0], 4) == []


def test_a_distance_beyond_reason_is_refused():
    for distance in (-1, MOST + 1):
        with pytest.raises(ValueError, match=f"distance is {distance}: it must be 0 to 16"):
            next(near_pairs(flocks(0), distance))


def test_a_few_near_ones_among_very_many_are_found():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 1 << 64, 200_000, np.uint64, endpoint=False)
    hashes[-100:] = hashes[:100] ^ np.uint64((1 << 40) + (1 << 33) + (1 << 5) + 1)
    assert found(hashes, 4) == [(place, place + 199_900) for place in range(100)]
    assert found(hashes, 3) == []
