"""Which class lies in which slot of a pool, and which were written longest ago: arrays on the host, O(Q)."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
NOWHERE = -1  # the slot of a class that is not in the pool; the class of a slot that is empty
FEWEST_LOOKED_AT = 64


@dataclass(frozen=True, slots=True)
class Taken:
    """Where n different classes go: their slots [n], and which of them lay there before [n]."""

    slots: Integers
    was_there: npt.NDArray[np.bool_]


@dataclass(slots=True)
class RecentClasses:
    """The classes of Q slots, least recently used first out.

    A class is used when it is written. A look-up takes O(log Q) a label; a write O(Q) bytes copied and, on
    average over many writes, O(log Q) comparisons a class. Nothing is done class by class in Python, and
    nothing grows with the number of classes that there are.
    """

    size: int  # Q
    classes: Integers = field(init=False)  # [Q] by slot, NOWHERE for an empty one
    written: Integers = field(init=False)  # [Q] by slot, a number that grows with each class written
    count: int = field(init=False, default=0)  # of classes; they fill the slots from 0 on
    writes: int = field(init=False, default=0)  # of classes so far
    _ascending: Integers = field(init=False)  # [count] the classes in order
    _slots: Integers = field(init=False)  # [count] their slots
    _line: Integers = field(init=False)  # slots, oldest first, as it was at write number _line_at
    _line_at: int = field(init=False, default=0)
    _next: int = field(init=False, default=0)  # in the line

    def __post_init__(self) -> None:
        self.classes = np.full(self.size, NOWHERE, np.int64)
        self.written = np.full(self.size, NOWHERE, np.int64)
        self._begin()

    def find(self, labels: Integers) -> Integers:
        """labels [n] -> the slots that they lie in [n], or NOWHERE."""
        if not self.count:
            return np.full(len(labels), NOWHERE, np.int64)
        places = np.searchsorted(self._ascending, labels)
        places[places == self.count] = 0
        return np.where(self._ascending[places] == labels, self._slots[places], NOWHERE)

    def take(self, labels: Integers) -> Taken:
        """Give each of n <= Q different labels a slot, as the most recently used, the last one most of all.

        Those that lie in the pool stay where they are. The others take empty slots, and then those of the
        classes that were written longest ago, which leave the pool.
        """
        assert len(labels) <= self.size
        slots = self.find(labels)
        was_there = slots != NOWHERE
        self._use(slots[was_there], np.flatnonzero(was_there))
        new = labels[~was_there]
        empty = np.arange(self.count, min(self.size, self.count + len(new)))
        oldest = self._oldest(len(new) - len(empty))
        slots[~was_there] = np.concatenate([empty, oldest])
        self._use(slots[~was_there], np.flatnonzero(~was_there))
        self._replace(self.classes[oldest], new, slots[~was_there])
        self.writes += len(labels)
        return Taken(slots, was_there)

    def state(self) -> dict[str, Integers]:
        """The classes by slot [Q], and the order in which they were written: slots [count], oldest first."""
        return {"classes": self.classes.copy(), "order": self._in_order()}

    def restore(self, classes: Integers, order: Integers) -> None:
        """Become what `state` gave. Raises ValueError for what is no such state."""
        count = len(order)
        filled, empty = classes[:count], classes[count:]
        if (
            len(classes) != self.size
            or not np.array_equal(np.sort(order), np.arange(count))
            or len(np.unique(filled)) != count
            or (filled < 0).any()
            or (empty != NOWHERE).any()
        ):
            raise ValueError(
                f"the pool's classes {list(classes.shape)} and their order {list(order.shape)} are not those "
                f"of a pool of {self.size} slots"
            )
        self.classes = classes.copy()
        self.written = np.full(self.size, NOWHERE, np.int64)
        self.written[order] = np.arange(count)
        self.count = self.writes = count
        self._begin()

    def _begin(self) -> None:
        filled = self.classes[: self.count]
        self._slots = np.argsort(filled)
        self._ascending = filled[self._slots]
        self._line, self._line_at, self._next = self._in_order(), self.writes, 0

    def _in_order(self) -> Integers:
        return np.argsort(self.written[: self.count])

    def _use(self, slots: Integers, places: Integers) -> None:
        """Note that slots [m] are written now, with the labels at these places [m]."""
        self.written[slots] = self.writes + places

    def _oldest(self, count: int) -> Integers:
        """The slots that were written longest ago [count], oldest first; none of those being written now.

        They come from a line in which all slots stood once; one that was written since then is passed over.
        """
        found = np.empty(0, np.int64)
        looked_at = max(FEWEST_LOOKED_AT, 2 * count)
        while len(found) < count:
            if self._next == len(self._line):
                self._line, self._line_at, self._next = self._in_order(), self.writes, 0
            ahead = self._line[self._next : self._next + looked_at]
            old = np.flatnonzero(self.written[ahead] < self._line_at)[: count - len(found)]
            found = np.concatenate([found, ahead[old]])
            self.written[ahead[old]] = self.writes  # so that a new line passes them over
            self._next += int(old[-1]) + 1 if len(found) == count else len(ahead)
        return found

    def _replace(self, gone: Integers, new: Integers, slots: Integers) -> None:
        """Classes `gone` leave, `new` [m] come to slots [m]; both are in none but these two places."""
        keep = np.ones(self.count, np.bool_)
        keep[np.searchsorted(self._ascending, gone)] = False
        ascending, kept_slots = self._ascending[keep], self._slots[keep]
        order = np.argsort(new)
        places = np.searchsorted(ascending, new[order])
        self._ascending = np.insert(ascending, places, new[order])
        self._slots = np.insert(kept_slots, places, slots[order])
        self.classes[slots] = new
        self.count = len(self._ascending)
