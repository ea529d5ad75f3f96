"""What a list of pairs says, before any image is read."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Pair:
    """Two images, or two folders of frames, by their names in the list; line: where it says so, from 1, or
    whatever else the list counts (`PairList.unit`).

    fold: from 0, where the list has folds of its own.
    """

    line: int
    first: str
    second: str
    same: bool
    fold: int | None = None


@dataclass(frozen=True)
class PairList:
    """The pairs of a list in its order. person: an image's name to its identity.

    by_kind: fold k is the k-th part of the genuine pairs with the k-th part of the impostor pairs, because
    the list has one kind after the other. videos: a name is that of a folder of frames. unit: what a pair's
    `line` counts.
    """

    pairs: list[Pair]
    person: Callable[[str], str]
    by_kind: bool = False
    videos: bool = False
    unit: str = "line"

    def where(self, pair: Pair) -> str:
        """For messages: "line 17"."""
        return f"{self.unit} {pair.line}"


def folds_by_kind(same: np.ndarray, folds: int) -> np.ndarray:
    """same [P] -> the fold of each pair, of each kind as many in every fold as can be, in order."""
    found = np.empty(len(same), np.int64)
    for kind in (same, ~same):
        places = np.flatnonzero(kind)
        for fold, part in enumerate(np.array_split(places, folds)):
            found[part] = fold
    return found
