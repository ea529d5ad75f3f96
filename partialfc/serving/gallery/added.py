"""The rows that were added to a gallery since its files were written, in memory."""

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from partialfc.serving.gallery.manifest import Storage
from partialfc.serving.gallery.segments import TYPES, Name, Stored, StoredRows, told_by

FIRST_ROOM = 64  # rows


class Added(StoredRows):
    """The first `count` rows of arrays with room for more. It never changes: a change gives another one.

    Those that come from each other by `more` share their arrays, so only the newest may get more.
    """

    def __init__(
        self,
        storage: Storage,
        room: npt.NDArray[Any],
        scale_room: npt.NDArray[np.float32],
        names: list[Name],
        count: int,
    ) -> None:
        self.storage, self.rows = storage, room[:count]
        self.scales = scale_room[:count] if storage == "int8" else None
        self._room, self._scale_room, self._names = room, scale_room, names

    @classmethod
    def none(cls, storage: Storage, width: int) -> "Added":
        """No rows of D numbers."""
        room = np.empty((FIRST_ROOM, width), TYPES[storage])
        return cls(storage, room, np.empty(FIRST_ROOM, np.float32), [], 0)

    def more(self, stored: Stored) -> "Added":
        """These, and others behind them."""
        start, end = len(self), len(self) + len(stored.rows)
        room, scale_room = self._room, self._scale_room
        if end > len(room):
            room, scale_room = _wider(self.rows, 2 * end), _wider(scale_room[:start], 2 * end)
        room[start:end] = stored.rows
        if stored.scales is not None:
            scale_room[start:end] = stored.scales
        self._names[start:] = stored.names  # also where a change before was not finished
        return Added(self.storage, room, scale_room, self._names, end)

    def without(self, names: Collection[bytes]) -> "Added":
        """These, but for the rows of some names, each as `told_by` gives it."""
        kept = [place for place, name in enumerate(self.each_name()) if name not in names]
        if len(kept) == len(self):
            return self
        room, scale_room = (
            _wider(each[kept], len(kept) + FIRST_ROOM) for each in (self._room, self._scale_room)
        )
        return Added(self.storage, room, scale_room, [self._names[place] for place in kept], len(kept))

    def name(self, place: int) -> Name:
        return self._names[place]

    def each_name(self) -> Iterator[bytes]:
        return (told_by(self._names[place][0]) for place in range(len(self)))


def _wider(array: npt.NDArray[Any], room: int) -> npt.NDArray[Any]:
    """With room for so many rows."""
    wider = np.empty((room, *array.shape[1:]), array.dtype)
    wider[: len(array)] = array
    return wider
