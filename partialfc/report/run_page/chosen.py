"""Which images are looked at where all would take too long; pure NumPy, and the same in each report."""

import numpy as np

IDENTITIES = 8  # that have a colour of their own on a map
OF_ONE = 16  # images of an identity on a map


def images_for_map(identities: np.ndarray, most: int) -> np.ndarray:
    """The identity [n] of each distinct image -> the places of at most `most` of them.

    Half of them, and no more than OF_ONE each, are of the IDENTITIES that have most images; the rest are of
    the others, a round of one image each, two, and so on, so that as many identities as possible are there.
    """
    names, own, counts = np.unique(identities, return_inverse=True, return_counts=True)
    turn = _turns(own, len(names))
    order = np.argsort(-counts, kind="stable")
    rank = np.empty(len(names), np.int64)
    rank[order] = np.arange(len(names))
    coloured = (rank[own] < IDENTITIES) & (turn < min(OF_ONE, max(1, most // (2 * IDENTITIES))))
    first = np.flatnonzero(coloured)[:most]
    others = np.flatnonzero(rank[own] >= IDENTITIES)
    others = others[np.lexsort((rank[own[others]], turn[others]))]
    return np.sort(np.concatenate([first, others[: most - len(first)]]))


def colours_of(identities: np.ndarray) -> np.ndarray:
    """The identity [n] of each image on a map -> its colour [n], below IDENTITIES, or -1 for all others."""
    names, own, counts = np.unique(identities, return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] > 1][:IDENTITIES]
    colour = np.full(len(names), -1)
    colour[order] = np.arange(len(order))
    found: np.ndarray = colour[own]
    return found


def size_bins(counts: np.ndarray) -> list[tuple[int, int]]:
    """The images [C] of each class -> ranges of sizes that have classes, each from a power of two on."""
    largest = int(counts.max()) if len(counts) else 0
    bins, least = [], 1
    while least <= largest:
        most = 2 * least - 1
        inside = counts[(counts >= least) & (counts <= most)]
        if len(inside):
            bins.append((int(inside.min()), int(inside.max())))
        least = 2 * least
    return bins


def images_by_size(labels: np.ndarray, most: int, *, seed: int = 0) -> list[np.ndarray]:
    """The class [n] of each image -> for each of `size_bins` the places of some images, rising.

    The bins share `most` evenly, and in each as many classes as possible are there. Drawn with `seed`.
    """
    counts = np.bincount(labels)
    bins = size_bins(counts)
    rng = np.random.default_rng(seed)
    found = []
    for least, greatest in bins:
        size = counts[labels]
        inside = rng.permutation(np.flatnonzero((size >= least) & (size <= greatest)))
        turn = _turns(labels[inside], len(counts))
        found.append(np.sort(inside[np.argsort(turn, kind="stable")][: max(most // len(bins), 1)]))
    return found


def _turns(own: np.ndarray, count: int) -> np.ndarray:
    """Numbers [n] below `count` -> of each, how many equal ones stand before it, [n]."""
    order = np.argsort(own, kind="stable")
    starts = np.cumsum(np.bincount(own, minlength=count)) - np.bincount(own, minlength=count)
    turn = np.empty(len(own), np.int64)
    turn[order] = np.arange(len(own)) - starts[own[order]]
    return turn
