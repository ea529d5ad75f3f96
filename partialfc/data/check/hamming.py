"""Pairs of 64-bit hashes that differ in few bits: all of them, without comparing each with each."""

import math
from collections.abc import Iterator
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

MOST = 16  # bits; of two unrelated images about 32 differ
_SORTED = 5.0  # what sorting a hash costs, in comparisons of two


def near_pairs(hashes: NDArray[np.uint64], distance: int) -> Iterator[NDArray[np.int64]]:
    """hashes [n] -> arrays [m, 2] of the places (i, j), i < j, of all that differ in at most `distance` bits.

    Each pair comes once, in no order. The bits are cut into `distance` + k bands: of a pair that differs in
    `distance` bits at most, k bands are equal at least. So the hashes are sorted once for each k of the
    bands, and only those are compared that are equal there (Manku, Jain, Das Sarma 2007, "Detecting
    near-duplicates for web crawling", section 3). Memory is a few times that of the hashes and of the pairs
    that come at once. distance: 0 to MOST.
    """
    if not 0 <= distance <= MOST:
        raise ValueError(f"distance is {distance}: it must be 0 to {MOST} bits of 64")
    equal = _bands_to_be_equal(len(hashes), distance)
    bands = _bands(distance + equal)
    for chosen in combinations(range(len(bands)), equal):
        mask = np.bitwise_or.reduce(bands[list(chosen)])
        # A pair comes where its first `equal` equal bands are the chosen ones: those left out differ.
        left_out = [bands[band] for band in range(chosen[-1]) if band not in chosen]
        keys = hashes & mask
        order = np.argsort(keys, kind="stable")
        keys, ordered = keys[order], hashes[order]
        for lower, step in _equal_runs(keys):
            differ = ordered[lower] ^ ordered[lower + step]
            wanted = np.bitwise_count(differ) <= distance
            for band in left_out:
                wanted &= (differ & band) != 0
            if wanted.any():
                found = lower[wanted]
                yield np.sort(np.stack([order[found], order[found + step]], axis=1), axis=1)


def _equal_runs(keys: NDArray[np.uint64]) -> Iterator[tuple[NDArray[np.int64], int]]:
    """Of ascending keys, for each step from 1 on: the places with the key of the place `step` further."""
    places = np.arange(len(keys))
    step = 0
    while len(places):
        step += 1
        places = places[places + step < len(keys)]
        places = places[keys[places] == keys[places + step]]
        if len(places):
            yield places, step


def _bands(count: int) -> NDArray[np.uint64]:
    """Masks of 64 bits in `count` bands of about the same width."""
    edges = [64 * band // count for band in range(count + 1)]
    return np.array([(1 << stop) - (1 << start) for start, stop in pairwise(edges)], np.uint64)


def _bands_to_be_equal(count: int, distance: int) -> int:
    """How many bands are looked for at a time: more mean more tables, and fewer comparisons within each."""

    def cost(equal: int) -> float:
        bands = distance + equal
        pairs = count / 2 ** (64 * equal / bands) / 2
        return math.comb(bands, equal) * (_SORTED + pairs)

    return min(range(1, 5), key=cost)
