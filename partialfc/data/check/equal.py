"""Which of many things are equal, and which are linked to each other by a chain of pairs."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def equal_groups(values: NDArray[np.uint64]) -> list[NDArray[np.int64]]:
    """values [n, w] -> the places of equal rows, ascending, of each row that is there more than once.

    The groups are in the order of their first places.
    """
    order = np.lexsort(values.T[::-1])  # stable: places of equal rows ascend
    ordered = values[order]
    starts = np.flatnonzero(np.append(len(values) > 0, (ordered[1:] != ordered[:-1]).any(axis=1)))
    stops = np.append(starts[1:], len(values))
    several = stops - starts > 1
    groups = [order[start:stop] for start, stop in zip(starts[several], stops[several], strict=True)]
    return sorted(groups, key=lambda group: int(group[0]))


def linked_groups(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """The things that pairs link with each other, over any number of pairs; each group ascends.

    The groups are in the order of their first things.
    """
    leader: dict[int, int] = {}

    def lead(thing: int) -> int:
        root = thing
        while (above := leader.setdefault(root, root)) != root:
            root = above
        while thing != root:
            leader[thing], thing = root, leader[thing]
        return root

    for one, other in pairs:
        a, b = lead(one), lead(other)
        leader[max(a, b)] = min(a, b)
    groups: dict[int, list[int]] = {}
    for thing in sorted(leader):
        groups.setdefault(lead(thing), []).append(thing)
    return list(groups.values())


def covering(count: int, pairs: Iterable[tuple[int, int]]) -> NDArray[np.bool_]:
    """[count]: a choice of things such that each one that is not chosen has a pair with one that is.

    No two that are chosen have a pair; the first of each chain is chosen.
    """
    before: dict[int, list[int]] = {}
    for one, other in pairs:
        before.setdefault(max(one, other), []).append(min(one, other))
    chosen = np.ones(count, np.bool_)
    for thing in sorted(before):
        chosen[thing] = not chosen[before[thing]].any()
    return chosen
