"""The keys of the records of a `.rec`, and at which positions of the file they are.

Records have a key. Their positions 0..n-1 are their order in the file, their places 0..n-1 the order of
their keys; where keys count up in the file, as nearly always, all three are one but for a constant.
"""

from bisect import bisect_right
from typing import overload

import numpy as np
import numpy.typing as npt

from partialfc.data.sources.shared_array import SharedArray

Numbers = npt.NDArray[np.int64]

_BITS = 32
_BLOCK = 1024  # keys of a range, whose present ones are counted together
_PART = 1 << 20  # of a table, that is looked through at a time


class KeyRuns:
    """The keys [n] of the records by place, ascending, kept as runs of keys that count up in the file."""

    def __init__(self, first: Numbers, position: Numbers, count: int) -> None:
        """Runs in the order of the file: first key and position of each [runs]; the records are `count`."""
        order = np.argsort(first, kind="stable")
        lengths = np.diff(position, append=count)[order]
        first = first[order]
        self.distinct = bool((first[:-1] + lengths[:-1] <= first[1:]).all())
        self._first = SharedArray(_narrow(first))
        self._place = SharedArray(_narrow(np.cumsum(lengths) - lengths))
        self._position = SharedArray(_narrow(position[order]))
        self._count = count
        self._first_of_all = int(first[0]) if len(first) == 1 else None  # where all keys are one run

    def __len__(self) -> int:
        return self._count

    def attach(self) -> None:
        """As Offsets.attach."""
        for shared in (self._first, self._place, self._position):
            shared.attach()

    @overload
    def __getitem__(self, place: int) -> int: ...
    @overload
    def __getitem__(self, place: slice) -> Numbers: ...
    def __getitem__(self, place: int | slice) -> int | Numbers:
        if isinstance(place, slice):
            return self._at(np.arange(*place.indices(len(self))), self._place, self._first)
        if not -len(self) <= place < len(self):
            raise IndexError(f"place {place} of {len(self)} records")
        place %= len(self)
        if self._first_of_all is not None:
            return self._first_of_all + place
        run = self._run(self._place, place)
        return int(self._first.array[run]) + place - int(self._place.array[run])

    def below(self, key: int) -> int:
        """How many keys are smaller: the place of `key`, where it is one."""
        if self._first_of_all is not None:
            return min(max(key - self._first_of_all, 0), len(self))
        run = self._run(self._first, key)
        if run < 0:
            return 0
        after = self._place.array[run + 1] if run + 1 < len(self._place.array) else len(self)
        return min(int(self._place.array[run]) + key - int(self._first.array[run]), int(after))

    def position(self, place: int) -> int:
        """Of the record with this place."""
        if self._first_of_all is not None:
            return place
        run = self._run(self._place, place)
        return int(self._position.array[run]) + place - int(self._place.array[run])

    def positions(self, places: Numbers) -> Numbers:
        """[n] of the records with these places [n]."""
        return self._at(places, self._place, self._position)

    def places(self, positions: Numbers) -> Numbers:
        """[n] of the records at these positions [n]."""
        order = np.argsort(self._position.array)
        ordered = SharedArray(self._position.array[order]), SharedArray(self._place.array[order])
        return self._at(positions, *ordered)

    def gaps(self, most: int) -> Numbers:
        """The positions after which no key follows that is larger by one, ascending; evenly chosen."""
        gaps = np.sort(self._position.array.astype(np.int64))[1:] - 1
        return gaps[spread(len(gaps), most)]

    @staticmethod
    def _run(starts: SharedArray, value: int) -> int:
        return bisect_right(starts.array, value) - 1

    @staticmethod
    def _at(values: Numbers, starts: SharedArray, others: SharedArray) -> Numbers:
        runs = np.searchsorted(starts.array, values, side="right") - 1
        found: Numbers = others.array[runs].astype(np.int64) + values - starts.array[runs]
        return found


class KeyTable:
    """Keys [n] in any order, kept as the position of each key of their range: for shuffled ones."""

    distinct = True

    def __init__(self, table: npt.NDArray[np.uint32], first: int, count: int) -> None:
        """table: by key, from `first` on, its position plus one, 0 where no record has it; `count` have."""
        self._table = SharedArray(table)
        self._first = first
        self._count = count
        # Of each block, how many keys come before it; None where no key of the range is missing.
        self._before = SharedArray(_counted(table)) if len(table) > count else None

    def __len__(self) -> int:
        return self._count

    def attach(self) -> None:
        """As Offsets.attach."""
        self._table.attach()
        if self._before is not None:
            self._before.attach()

    @overload
    def __getitem__(self, place: int) -> int: ...
    @overload
    def __getitem__(self, place: slice) -> Numbers: ...
    def __getitem__(self, place: int | slice) -> int | Numbers:
        if isinstance(place, slice):
            return self._first + self._indices(np.arange(*place.indices(len(self))))
        if not -len(self) <= place < len(self):
            raise IndexError(f"place {place} of {len(self)} records")
        return self._first + self._index(place % len(self))

    def below(self, key: int) -> int:
        """As KeyRuns.below."""
        index = min(max(key - self._first, 0), len(self._table.array))
        if self._before is None:
            return index
        block = min(index // _BLOCK, len(self._before.array) - 1)
        within = self._table.array[block * _BLOCK : index]
        return int(self._before.array[block]) + int(np.count_nonzero(within))

    def position(self, place: int) -> int:
        """As KeyRuns.position."""
        return int(self._table.array[self._index(place)]) - 1

    def positions(self, places: Numbers) -> Numbers:
        """As KeyRuns.positions."""
        found: Numbers = self._table.array[self._indices(places)].astype(np.int64) - 1
        return found

    def places(self, positions: Numbers) -> Numbers:
        """As KeyRuns.places, of few: the table is looked through for each."""
        return np.array([self.below(self._first + self._of(each)) for each in positions.tolist()], np.int64)

    def gaps(self, most: int) -> Numbers:
        """As KeyRuns.gaps: any position is one."""
        return spread(len(self) - 1, most)

    def _of(self, position: int) -> int:
        """The index in the table of the record at a position."""
        table = self._table.array
        for start in range(0, len(table), _PART):
            found = np.flatnonzero(table[start : start + _PART] == position + 1)
            if len(found):
                return start + int(found[0])
        raise IndexError(f"position {position} of {len(self)} records")

    def _index(self, place: int) -> int:
        """In the table, of a place."""
        if self._before is None:
            return place
        return int(self._indices(np.array([place]))[0])

    def _indices(self, places: Numbers) -> Numbers:
        """[n] in the table, of places [n]."""
        if self._before is None or not len(places):
            return places
        before = self._before.array
        first, last = np.searchsorted(before, [places.min(), places.max()], side="right") - 1
        part = self._table.array[first * _BLOCK : (last + 1) * _BLOCK]
        found: Numbers = first * _BLOCK + np.flatnonzero(part)[places - before[first]]
        return found


Keys = KeyRuns | KeyTable


def _counted(table: npt.NDArray[np.uint32]) -> Numbers:
    """[blocks], how many numbers before each block of the table are not 0."""
    counts = [np.count_nonzero(table[start : start + _BLOCK]) for start in range(0, len(table), _BLOCK)]
    return np.cumsum([0, *counts[:-1]])


def spread(size: int, count: int) -> Numbers:
    """At most so many of 0..size-1, evenly."""
    return np.arange(size) if size <= count else np.linspace(0, size - 1, count).astype(np.int64)


def _narrow(numbers: Numbers) -> npt.NDArray[np.signedinteger | np.unsignedinteger]:
    return numbers.astype(np.uint32) if numbers.max(initial=0) < 1 << _BITS else numbers
