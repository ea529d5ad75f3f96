"""Pieces of the device's memory: addresses as a caching allocator would give them, and the bytes in use."""

from collections import defaultdict

import torch

ALIGNMENT = 512
TOTAL_MEMORY = 80 << 30


class Memory:
    """One piece, shared by a tensor and its views, and free again when the last of them is gone."""

    def __init__(self, allocator: "Allocator", size: int, stream: int) -> None:
        self.address = 0  # as long as there is no room for it
        self.size = size
        self.stream = stream  # on which it was allocated
        self.written: tuple[int, int] | None = None  # stream and time of the last write
        self.read: dict[int, int] = {}  # stream -> time of the last read
        self.recorded: set[int] = set()  # streams that record_stream was called for
        self._allocator = allocator
        self.address = allocator.take(size)

    def __del__(self) -> None:
        if self.address:
            self._allocator.give_back(self)


class Allocator:
    """Hands out addresses: a freed piece serves another of the same size, as with torch's allocator."""

    def __init__(self) -> None:
        self.allocated = 0
        self.peak = 0
        self.on_free = lambda memory: None  # called before a piece is free
        self._next = ALIGNMENT
        self._free: dict[int, list[int]] = defaultdict(list)

    def take(self, size: int) -> int:
        """The address of `size` bytes."""
        size = _rounded(size)
        if self.allocated + size > TOTAL_MEMORY:
            raise torch.OutOfMemoryError(f"pretend out of memory. Tried to allocate {size} bytes")
        self.allocated += size
        self.peak = max(self.peak, self.allocated)
        if self._free[size]:
            return self._free[size].pop()
        address, self._next = self._next, self._next + size
        return address

    def give_back(self, memory: Memory) -> None:
        """The piece is used by nothing any more."""
        self.on_free(memory)
        size = _rounded(memory.size)
        self.allocated -= size
        self._free[size].append(memory.address)


def _rounded(size: int) -> int:
    return -(-max(size, 1) // ALIGNMENT) * ALIGNMENT
