"""All rows of a gallery at a moment: of its files, less what was removed since, and what was added."""

from collections.abc import Collection, Iterable, Sequence
from itertools import groupby

import numpy as np

from partialfc.serving.gallery.added import Added
from partialfc.serving.gallery.changes import Change, net
from partialfc.serving.gallery.faiss_index import FaissIndex
from partialfc.serving.gallery.manifest import Storage
from partialfc.serving.gallery.segments import Name, Segment, StoredRows, as_stored, told_by
from partialfc.serving.gallery.top_k import Places, Scores, top_k
from partialfc.serving.rows import Rows, unit_rows


class View:
    """It never changes: a change gives another one, and a search goes on in that which it began with.

    A place counts the rows of the segments, also the removed ones, and then those that were added.
    """

    def __init__(self, segments: Sequence[Segment], added: Added, faiss: FaissIndex | None) -> None:
        self.segments, self.added, self._faiss = segments, added, faiss
        self.parts: list[StoredRows] = [*segments, added]
        self.starts = np.cumsum([0, *map(len, self.parts)])

    @classmethod
    def of(
        cls,
        segments: Sequence[Segment],
        faiss: FaissIndex | None,
        changes: Iterable[Change],
        *,
        storage: Storage,
        width: int,
    ) -> "View":
        """Segments, and the changes since they were written."""
        removed, added = net(changes)
        gone = {told_by(name) for name in removed}
        view = cls([each.without(gone) for each in segments], Added.none(storage, width), faiss)
        for name, rows in added:
            view = view.more(name, rows)
        return view

    @property
    def shown(self) -> int:
        """How many rows there are, but for those that were removed."""
        return sum(each.shown for each in self.parts)

    def after(self, changes: Iterable[Change]) -> tuple["View", list[int]]:
        """The rows once changes are made, in their order; and of each how many came or went."""
        view, counts = self, list[int]()
        for removed, alike in groupby(changes, key=lambda change: change.rows is None):
            if removed:  # all names are read for it: once for all that come together
                names = [change.name for change in alike]
                there = {told_by(name): count for name, count in view.counts(set(names)).items()}
                counts.extend(there.pop(told_by(name), 0) for name in names)
                view = view.without(set(names))
                continue
            for change in alike:
                assert change.rows is not None
                view = view.more(change.name, change.rows)
                counts.append(len(change.rows))
        return view, counts

    def more(self, name: str, rows: Rows) -> "View":
        """These rows, and others of a name behind them."""
        stored = as_stored(unit_rows(rows), [(name, "")] * len(rows), self.added.storage)
        return View(self.segments, self.added.more(stored), self._faiss)

    def without(self, names: Collection[str]) -> "View":
        """These rows, but for those of some names."""
        gone = {told_by(name) for name in names}
        return View([each.without(gone) for each in self.segments], self.added.without(gone), self._faiss)

    def part_of(self, place: int) -> tuple[StoredRows, int]:
        """The part that a place is in, and the row there. IndexError for a place that there is not."""
        if not 0 <= place < self.starts[-1]:
            raise IndexError(f"place {place}: there are {self.starts[-1]} rows")
        number = int(np.searchsorted(self.starts, place, side="right")) - 1
        return self.parts[number], place - int(self.starts[number])

    def name(self, place: int) -> Name:
        """The name of a row, and the key of its image."""
        part, row = self.part_of(place)
        return part.name(row)

    def places(self) -> Iterable[int]:
        """Of all rows but those that were removed, in order."""
        for start, part in zip(self.starts.tolist(), self.parts, strict=False):
            for row in range(len(part)) if part.hidden is None else np.flatnonzero(~part.hidden).tolist():
                yield start + row

    def counts(self, names: Collection[str]) -> dict[str, int]:
        """How many rows each of these names has; all names are read for it, once."""
        found = {told_by(name): 0 for name in names}
        for part in self.parts:
            for place, name in enumerate(part.each_name()):
                if name in found and (part.hidden is None or not part.hidden[place]):
                    found[name] += 1
        return {name: found[told_by(name)] for name in names}

    def search(self, unit: Rows, k: int, *, threads: int) -> tuple[Scores, Places]:
        """Unit rows [n, D] -> the exact cosines float64 [n, m], at most 1, and the places, int64 [n, m]."""
        if self._faiss is None:
            scores, places = top_k(self.parts, unit, k, threads=threads)
        else:
            own = self._faiss.search(self.segments, unit, k, threads=threads)
            more = top_k([self.added], unit, k, threads=threads)
            all_scores = np.concatenate([own[0], more[0]], axis=1)
            all_places = np.concatenate([own[1], more[1] + self.starts[-2]], axis=1)
            order = np.lexsort((all_places, -all_scores))[:, :k]
            scores = np.take_along_axis(all_scores, order, axis=1)
            places = np.take_along_axis(all_places, order, axis=1)
        return scores.clip(-1, 1), places  # a rounded row may be longer than 1
