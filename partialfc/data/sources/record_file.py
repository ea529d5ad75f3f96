"""The bytes of a `.rec`: its frames, and where its records start.

The file is read with `pread`, not mapped: a mapped file that is cut while it is open ends the process with a
signal, and gives no error to report.
"""

import os
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from partialfc.data.sources.recordio import (
    FIRST,
    FRAME,
    LAST,
    MAGIC,
    MAGIC_BYTES,
    MAX_LENGTH,
    MIDDLE,
    WHOLE,
    padded,
    split_word,
)
from partialfc.errors import DataError, RecordError

AGAIN = "copy the .rec again"
_BLOCK = 1 << 22  # bytes that a scan reads at a time


class RecordFile:
    """A `.rec` that is opened on first use and left out of a pickle; it may be read after a fork.

    Raises RecordError where the file is damaged or cut short, also while it is in use, and DataError where
    the disk fails.
    """

    size: int  # bytes, when it was first opened

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: tuple[int, weakref.finalize[..., RecordFile]] | None = None
        self.size = self._size_now()
        if self.size == 0:
            raise RecordError(f"{path}: the file is empty, so it holds no record")

    def close(self) -> None:
        """Close the file; a later read opens it again."""
        if self._opened is not None:
            self._opened[1]()
            self._opened = None

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_opened": None}

    @property
    def _descriptor(self) -> int:
        if self._opened is None:
            try:
                descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise RecordError(f"{self.path}: cannot be opened: {error.strerror}") from error
            self._opened = descriptor, weakref.finalize(self, os.close, descriptor)
        return self._opened[0]

    def _size_now(self) -> int:
        return os.fstat(self._descriptor).st_size

    def read(self, start: int, count: int) -> bytes:
        """So many bytes from `start` on; fewer where the file ends before."""
        try:
            return os.pread(self._descriptor, count, start)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read: {error.strerror}") from error

    def parts(self, offset: int, name: Callable[[], str]) -> tuple[list[tuple[int, int]], int]:
        """(byte, length) of each part of the record at `offset`, and where the next record starts.

        RecordError, with what `name` calls the record, where it is damaged or the file ends before it does.
        """
        parts: list[tuple[int, int]] = []
        allowed = (WHOLE, FIRST)
        start = offset

        def place() -> str:
            return f"{self.path} {name()} at byte {frame_start}"

        while True:
            frame_start = start
            frame = self.read(start, FRAME.size)
            if len(frame) < FRAME.size:
                if frame[: len(MAGIC_BYTES)] != MAGIC_BYTES[: len(frame)]:
                    last = counted_bytes(len(frame))
                    raise RecordError(f"{place()}: the last {last} of the file are no record; {AGAIN}")
                raise RecordError(f"{place()}: the file ends at byte {self._size_now()}; it was cut short")
            magic, word = FRAME.unpack(frame)
            if magic != MAGIC:
                raise RecordError(f"{place()}: starts with 0x{magic:08x}, the magic word is 0x{MAGIC:08x}")
            flag, length = split_word(word)
            if flag not in allowed:
                raise RecordError(
                    f"{place()}: continuation flag {flag}, only {allowed[0]} or {allowed[1]} fit here"
                )
            parts.append((start + FRAME.size, length))
            start += FRAME.size + padded(length)
            if flag in (WHOLE, LAST):
                break
            allowed = (MIDDLE, LAST)
        size = self._size_now()
        if start > size:
            raise RecordError(
                f"{place()}: length {length} runs past the end of the file at byte {size}; it was cut short"
            )
        return parts, start

    def begins_record(self, offset: int) -> bool:
        """Whether a record starts here: no payload holds the magic word at a multiple of 4 bytes."""
        frame = self.read(offset, FRAME.size)
        if offset % 4 or len(frame) < FRAME.size:
            return False
        magic, word = FRAME.unpack(frame)
        return bool(magic == MAGIC and split_word(word)[0] in (WHOLE, FIRST))

    def scan(self) -> Iterator[npt.NDArray[np.int64]]:
        """Where each record starts, in parts [n]; the file is read from end to end."""
        offset = count = 0
        while offset < self.size:
            starts, end = _whole_records(self.read(offset, _BLOCK), room=self.size - offset)
            if not starts:  # a record in several frames, damaged, or cut
                starts, end = [0], self.parts(offset, partial("record {}".format, count))[1] - offset
            yield np.array(starts, np.int64) + offset
            count += len(starts)
            offset += end


def counted_bytes(count: int) -> str:
    """For messages: "1 byte", "4 bytes"."""
    return f"{count} byte" if count == 1 else f"{count} bytes"


def _whole_records(block: bytes, *, room: int) -> tuple[list[int], int]:
    """Where records of one frame start in the block, up to the first other one, and where the last ends.

    `room`: the bytes up to the file's end, from the block's start.
    """
    starts: list[int] = []
    at = 0
    while at + FRAME.size <= len(block):
        magic, word = FRAME.unpack_from(block, at)
        end = at + FRAME.size + padded(word)
        if magic != MAGIC or word > MAX_LENGTH or end > room:
            break
        starts.append(at)
        at = end
    return starts, at
