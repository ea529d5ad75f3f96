"""The rows that were added to a gallery while it was served, in memory, and the names that were removed."""

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from partialfc.serving.service.changes import Change

Rows = npt.NDArray[np.float32]
FIRST_ROOM = 64  # rows
BLOCK = 1 << 16  # rows that a search multiplies at once


@dataclass(frozen=True, slots=True)
class Match:
    """A name, and the cosine of its nearest row."""

    name: str
    score: float


class Added:
    """Rows [n, D] under names, that grow; one thread changes them while others search.

    removed: the names of which all earlier rows, those of the gallery itself too, are gone.
    """

    def __init__(self, width: int) -> None:
        self._rows = np.empty((FIRST_ROOM, width), np.float32)
        self._names: list[str] = []
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.removed: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self._names)

    def count(self, name: str) -> int:
        """The rows of a name."""
        return self._counts[name]

    def apply(self, change: Change) -> int:
        """Add or remove; how many rows that were."""
        with self._lock:
            return self._remove(change.name) if change.rows is None else self._add(change.name, change.rows)

    def search(self, queries: Rows, k: int) -> list[list[Match]]:
        """Unit rows [n, D] -> for each the k names with the nearest rows, or fewer, the best one first."""
        with self._lock:  # what is added later lies behind these, and a removal makes new ones
            names, rows = self._names, self._rows[: len(self._names)]
        found: list[dict[str, float]] = [{} for _ in queries]
        for start in range(0, len(rows), BLOCK):
            cosines = queries @ rows[start : start + BLOCK].T
            for best, row in zip(found, cosines, strict=True):
                for name, score in _best_names(row, names, start, k):
                    best[name] = max(score, best.get(name, -np.inf))
        return [best_first(best, k) for best in found]

    def _add(self, name: str, rows: Rows) -> int:
        end = len(self._names) + len(rows)
        if end > len(self._rows):
            wider = np.empty((max(end, 2 * len(self._rows)), self._rows.shape[1]), np.float32)
            wider[: len(self._names)] = self._rows[: len(self._names)]
            self._rows = wider
        self._rows[len(self._names) : end] = rows
        self._names.extend([name] * len(rows))
        self._counts[name] += len(rows)
        return len(rows)

    def _remove(self, name: str) -> int:
        self.removed |= {name}
        gone = self._counts.pop(name, 0)
        if gone:
            kept = [index for index, each in enumerate(self._names) if each != name]
            self._rows = self._rows[kept + [0] * FIRST_ROOM]
            self._names = [self._names[index] for index in kept]
        return gone


def best_first(scores: dict[str, float], k: int) -> list[Match]:
    """The k best of cosines by name; of equal ones the first by name."""
    ordered = sorted(scores.items(), key=lambda each: (-each[1], each[0]))
    return [Match(name, score) for name, score in ordered[:k]]


def _best_names(cosines: Rows, names: Sequence[str], start: int, k: int) -> list[tuple[str, float]]:
    """Enough of a block's cosines [n] that the k best names are among them."""
    count = 4 * k
    while True:
        whole = count >= len(cosines)
        places = np.arange(len(cosines)) if whole else np.argpartition(cosines, -count)[-count:]
        found = [(names[start + place], float(cosines[place])) for place in places.tolist()]
        if whole or len({name for name, _ in found}) >= k:
            return found
        count *= 4
