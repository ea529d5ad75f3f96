"""Whom the images of a pair list show, where it does not say it itself."""

from collections.abc import Hashable, Sequence

import numpy as np


def from_names(names: Sequence[Hashable]) -> np.ndarray:
    """The names of 2P images' identities -> their numbers [P, 2], in the order of first sight."""
    numbers: dict[Hashable, int] = {}
    found = [numbers.setdefault(name, len(numbers)) for name in names]
    return np.array(found, np.int64).reshape(-1, 2)


def fits(identities: np.ndarray, same: np.ndarray) -> bool:
    """Whether every genuine pair is of one identity and every impostor pair of two."""
    return bool(((identities[:, 0] == identities[:, 1]) == same).all())


def connected(images: Sequence[Hashable], same: np.ndarray) -> np.ndarray:
    """2P images and P flags -> identities [P, 2]: equal images are one, and a genuine pair joins its two.

    Images of one person that no chain of genuine pairs joins count as two identities. There are then more
    identities than people, and intervals become a little too narrow.
    """
    nodes = from_names(images)
    parent = list(range(int(nodes.max()) + 1))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for first, second in nodes[same].tolist():
        parent[root(second)] = root(first)
    return from_names([root(node) for node in nodes.reshape(-1).tolist()])
