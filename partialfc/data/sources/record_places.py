"""Where the records of a `.rec` are, in some four bytes a record.

Records have a key. Their positions 0..n-1 are their order in the file, their places 0..n-1 the order of
their keys; where keys count up in the file, as nearly always, all three are one but for a constant.
"""

from array import array
from bisect import bisect_right
from typing import overload

import numpy as np
import numpy.typing as npt

from partialfc.data.sources.shared_array import SharedArray

Numbers = npt.NDArray[np.int64]

_WORD = 4  # every offset is a multiple of it
_BITS = 32
_MOST_TURNS = 1 << 16  # a file of 1 PB


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


class Keys:
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

    def gaps(self) -> Numbers:
        """The positions after which no key follows that is larger by one, ascending."""
        return np.sort(self._position.array.astype(np.int64))[1:] - 1

    @staticmethod
    def _run(starts: SharedArray, value: int) -> int:
        return bisect_right(starts.array, value) - 1

    @staticmethod
    def _at(values: Numbers, starts: SharedArray, others: SharedArray) -> Numbers:
        runs = np.searchsorted(starts.array, values, side="right") - 1
        found: Numbers = others.array[runs].astype(np.int64) + values - starts.array[runs]
        return found


class PlacesBuilder:
    """Takes the records in the order of the file, in parts."""

    def __init__(self) -> None:
        self._low = array("I")
        self._turns: list[int] = []
        self._first, self._position = array("q"), array("q")
        self._after = -1  # what the next key is, where keys count up
        self._end = -_WORD

    def __len__(self) -> int:
        return len(self._low)

    def add(self, keys: Numbers, offsets: Numbers) -> bool:
        """Keys [n] and offsets [n] of the next records, n at least 1.

        False, and nothing is taken, where the offsets do not ascend, or are no multiples of 4, or very large.
        """
        words = offsets >> 2
        ascending = offsets[0] > self._end and (offsets[1:] > offsets[:-1]).all()
        if not ascending or (offsets & 3).any() or words[-1] >> _BITS >= _MOST_TURNS:
            return False
        done = len(self)
        for turn in range(len(self._turns) + 1, int(words[-1] >> _BITS) + 1):
            self._turns.append(done + int(np.searchsorted(words, turn << _BITS)))
        self._low.frombytes(words.astype(np.uint32).tobytes())
        starts = np.flatnonzero(np.diff(keys, prepend=self._after - 1) != 1)
        self._first.frombytes(keys[starts].tobytes())
        self._position.frombytes((done + starts).tobytes())
        self._after, self._end = int(keys[-1]) + 1, int(offsets[-1])
        return True

    def finish(self) -> tuple[Keys, Offsets]:
        """Of all records, at least one."""
        first, position = (np.frombuffer(each, np.int64) for each in (self._first, self._position))
        return Keys(first, position, len(self)), Offsets(np.frombuffer(self._low, np.uint32), self._turns)


def places_of(keys: Numbers, offsets: Numbers) -> tuple[Keys, Offsets]:
    """Of records in the order of the file: keys [n], ascending offsets [n], multiples of 4; n at least 1."""
    builder = PlacesBuilder()
    if builder.add(keys, offsets):
        return builder.finish()
    position = np.flatnonzero(np.diff(keys, prepend=-2) != 1)
    return Keys(keys[position], position, len(keys)), Offsets(offsets // _WORD, [])  # wide: no turns


def _narrow(numbers: Numbers) -> npt.NDArray[np.signedinteger | np.unsignedinteger]:
    return numbers.astype(np.uint32) if numbers.max(initial=0) < 1 << _BITS else numbers
