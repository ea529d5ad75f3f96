"""Where the records of a `.rec` are, in some four bytes a record, and eight where keys are shuffled."""

from array import array
from bisect import bisect_right
from typing import overload

import numpy as np
import numpy.typing as npt

from partialfc.data.sources.record_keys import KeyRuns, Keys, KeyTable, Numbers
from partialfc.data.sources.shared_array import SharedArray

_WORD = 4  # every offset is a multiple of it
_BITS = 32
_MOST_TURNS = 1 << 16  # a file of 1 PB
LEAST = 4096  # records, before a table is thought of
_RUN, _KEY = 12, 4  # bytes that a run of keys takes, and a key of a table


class Offsets:
    """The offsets [n] at which records start, ascending multiples of 4.

    Of each the lower 32 bits, in words, are kept, and for each 16 GiB of the file the first record in it.
    """

    def __init__(self, low: npt.NDArray[np.uint32 | np.int64], turns: list[int]) -> None:
        self._low = SharedArray(low)
        self._turns = turns

    def __len__(self) -> int:
        return len(self._low.array)

    def attach(self) -> None:
        """After unpickling: OSError where what was shared is gone."""
        self._low.attach()

    @overload
    def __getitem__(self, position: int) -> int: ...
    @overload
    def __getitem__(self, position: slice) -> Numbers: ...
    def __getitem__(self, position: int | slice) -> int | Numbers:
        if isinstance(position, slice):
            low = self._low.array[position].astype(np.int64)
            positions = np.arange(*position.indices(len(self)))
            return (low + (np.searchsorted(self._turns, positions, side="right") << _BITS)) * _WORD
        return (int(self._low.array[position]) + (bisect_right(self._turns, position) << _BITS)) * _WORD


class PlacesBuilder:
    """Takes the records in the order of the file, in parts.

    Keys are kept as runs. Where these would take more than a table of all keys, they become one.
    """

    def __init__(self, *, most_keys: int = 0) -> None:
        """most_keys: a table has room for these keys at most, from 0 on."""
        self._low = array("I")
        self._turns: list[int] = []
        self._first, self._position = array("q"), array("q")
        self._after = -1  # what the next key is, where keys count up
        self._end = -_WORD
        self._most_keys = most_keys
        self._table: npt.NDArray[np.uint32] | None = None
        self._range = most_keys, -1  # the least and the largest key in the table

    def __len__(self) -> int:
        return len(self._low)

    def add(self, keys: Numbers, offsets: Numbers) -> bool:
        """Keys [n] and offsets [n] of the next records, n at least 1.

        False, and the builder is of no use any more, where the offsets do not ascend, or are no multiples of
        4, or very large; and where a key is too large for the table that there is.
        """
        words = offsets >> 2
        ascending = offsets[0] > self._end and (offsets[1:] > offsets[:-1]).all()
        if not ascending or (offsets & 3).any() or words[-1] >> _BITS >= _MOST_TURNS:
            return False
        done = len(self)
        for turn in range(len(self._turns) + 1, int(words[-1] >> _BITS) + 1):
            self._turns.append(done + int(np.searchsorted(words, turn << _BITS)))
        self._low.frombytes(words.astype(np.uint32).tobytes())
        self._end = int(offsets[-1])
        if self._table is None:
            self._add_runs(keys, done)
            return True
        return self._enter(self._table, keys, np.arange(done, len(self), dtype=np.uint32))

    def finish(self) -> tuple[Keys, Offsets] | None:
        """Of all records, at least one; None where a key is there twice."""
        offsets = Offsets(np.frombuffer(self._low, np.uint32), self._turns)
        if self._table is not None:
            least, largest = self._range
            table = self._table[least : largest + 1]
            return (
                (KeyTable(table, least, len(self)), offsets) if np.count_nonzero(table) == len(self) else None
            )
        keys = KeyRuns(*self._runs(), len(self))
        return (keys, offsets) if keys.distinct else None

    def _runs(self) -> tuple[Numbers, Numbers]:
        """The first keys of the runs, and their positions."""
        return np.frombuffer(self._first, np.int64), np.frombuffer(self._position, np.int64)

    def _add_runs(self, keys: Numbers, done: int) -> None:
        starts = np.flatnonzero(np.diff(keys, prepend=self._after - 1) != 1)
        self._first.frombytes(keys[starts].tobytes())
        self._position.frombytes((done + starts).tobytes())
        self._after = int(keys[-1]) + 1
        if len(self) >= LEAST and _RUN * len(self._first) > _KEY * len(self) and self._most_keys:
            self._begin_table()

    def _begin_table(self) -> None:
        """Enter the runs into a table, if they fit; the system gives it memory only where keys are."""
        first, position = self._runs()
        keys = KeyRuns(first, position, len(self))
        if keys.distinct and keys[len(self) - 1] < self._most_keys and keys[0] >= 0:
            table = np.zeros(self._most_keys, np.uint32)
            self._enter(table, keys[:], keys.positions(np.arange(len(self))).astype(np.uint32))
            self._table, self._first, self._position = table, array("q"), array("q")
        else:
            self._most_keys = 0

    def _enter(self, table: npt.NDArray[np.uint32], keys: Numbers, positions: npt.NDArray[np.uint32]) -> bool:
        least, largest = int(keys.min()), int(keys.max())
        if largest >= len(table):
            return False
        table[keys] = positions + 1
        self._range = min(least, self._range[0]), max(largest, self._range[1])
        return True


def places_of(keys: Numbers, offsets: Numbers) -> tuple[Keys, Offsets]:
    """Of records in the order of the file: keys [n], each another, ascending offsets [n], multiples of 4.

    n is at least 1.
    """
    builder = PlacesBuilder()
    if builder.add(keys, offsets) and (found := builder.finish()):
        return found
    position = np.flatnonzero(np.diff(keys, prepend=-2) != 1)
    return KeyRuns(keys[position], position, len(keys)), Offsets(offsets // _WORD, [])  # wide: no turns
