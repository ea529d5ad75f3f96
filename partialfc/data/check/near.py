"""Images that look nearly the same: within a class, and in several."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partialfc.data.check.equal import covering, linked_groups
from partialfc.data.check.hamming import near_pairs


@dataclass(frozen=True, slots=True)
class Near:
    """within: groups of one class, as (place, whether it is kept), of which the others each are near to one
    that is kept. across: groups of images each of which is near to one of another class, as places.
    """

    within: list[list[tuple[int, bool]]]
    across: list[list[int]]


def near_groups(hashes: NDArray[np.uint64], labels: NDArray[np.int64], *, distance: int) -> Near:
    """hashes, labels [n] of different images -> those that differ in at most `distance` of 64 bits."""
    distinct, of_all, times = np.unique(hashes, return_inverse=True, return_counts=True)
    each = [*near_pairs(distinct, distance), np.empty((0, 2), np.int64)]
    pairs = np.concatenate(each)
    concerned = times > 1
    concerned[pairs.reshape(-1)] = True
    images = np.flatnonzero(concerned[of_all])  # the others have no part in what follows, which takes room
    of_image = of_all[images]
    # A node is the images of one class that share a hash: numbered in the order of their first images.
    nodes, first, of_image_node = np.unique(
        np.stack([of_image, labels[images]], axis=1), axis=0, return_index=True, return_inverse=True
    )
    rank = np.argsort(np.argsort(first))
    at: dict[int, dict[int, int]] = {}  # hash -> label -> node
    for (place, label), number in zip(nodes.tolist(), rank.tolist(), strict=True):
        at.setdefault(place, {})[label] = number
    within, across = list[tuple[int, int]](), list[tuple[int, int]]()
    for classes in at.values():
        across += [(min(classes.values()), node) for node in classes.values() if len(classes) > 1]
    for one, other in pairs.tolist():
        here, there = at[one], at[other]
        within += [(here[label], there[label]) for label in here.keys() & there.keys()]
        if len(here.keys() | there.keys()) > 1:
            start = min(here.values())
            across += [(start, node) for node in (*here.values(), *there.values())]
    members: list[list[int]] = [[] for _ in nodes]
    for image, node in zip(images.tolist(), rank[of_image_node.reshape(-1)].tolist(), strict=True):
        members[node].append(image)
    return Near(_within(members, within), _across(members, across))


def _within(members: list[list[int]], pairs: list[tuple[int, int]]) -> list[list[tuple[int, bool]]]:
    chosen = covering(len(members), pairs)
    alone = [(node, node) for node, images in enumerate(members) if len(images) > 1]
    groups = []
    for group in linked_groups(pairs + alone):
        images = [
            (image, bool(chosen[node]) and image == members[node][0])
            for node in group
            for image in members[node]
        ]
        groups.append(sorted(images))
    return sorted(groups)


def _across(members: list[list[int]], pairs: list[tuple[int, int]]) -> list[list[int]]:
    groups = [sorted(image for node in group for image in members[node]) for group in linked_groups(pairs)]
    return sorted(groups)
