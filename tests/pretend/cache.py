"""A last-level cache in front of the device's memory: least recently used goes first, writes go back late."""

from collections import OrderedDict
from itertools import count

BLOCK = 1 << 16
CACHE = 50 << 20  # an H100's second level


class Cache:
    """Counts the bytes that go between it, of `size` bytes, and the memory behind it."""

    def __init__(self, size: int = CACHE) -> None:
        self.traffic = 0
        self._room = size // BLOCK
        self._dirty: OrderedDict[int, int] = (
            OrderedDict()
        )  # block -> its bytes to be written back, 0 for none
        self._elsewhere = count(-1, -1)

    def read(self, address: int, size: int) -> None:
        """`size` bytes from `address` on."""
        for block, share in _blocks(address, size):
            if block not in self._dirty:
                self.traffic += share
            self._touch(block, self._dirty.get(block, 0))

    def write(self, address: int, size: int) -> None:
        for block, share in _blocks(address, size):
            self._touch(block, min(BLOCK, self._dirty.get(block, 0) + share))

    def read_rows(self, size: int) -> None:
        """Rows from here and there: never in the cache already, and they push others out."""
        self._rows(size, dirty=False)

    def write_rows(self, size: int) -> None:
        self._rows(size, dirty=True)

    def _rows(self, size: int, *, dirty: bool) -> None:
        for start in range(0, size, BLOCK):
            share = min(BLOCK, size - start)
            self.traffic += 0 if dirty else share
            self._touch(next(self._elsewhere), share if dirty else 0)

    def _touch(self, block: int, dirty: int) -> None:
        self._dirty.pop(block, None)
        self._dirty[block] = dirty
        if len(self._dirty) > self._room:
            self.traffic += self._dirty.popitem(last=False)[1]


def _blocks(address: int, size: int) -> list[tuple[int, int]]:
    """The blocks that a range lies in, with the bytes of it in each."""
    stop = address + size
    first, last = address // BLOCK, (stop - 1) // BLOCK
    return [
        (block, min(stop, (block + 1) * BLOCK) - max(address, block * BLOCK))
        for block in range(first, last + 1)
        if size
    ]
