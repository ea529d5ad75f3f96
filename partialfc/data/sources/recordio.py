"""dmlc RecordIO, the `.rec` and `.idx` files of MXNet, byte for byte and without MXNet.

A record is one or more frames: magic word, length word (3 bits continuation flag, 29 bits length), payload,
zero padding to 4 bytes. A payload that holds the magic word at a multiple of 4 bytes is cut there into
several frames, without the word, which so marks only the start of frames; readers put it back.
Format: dmlc-core `recordio.h`; `IRHeader`: MXNet `python/mxnet/recordio.py`.
"""

import logging
import mmap
import os
import struct
from array import array
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt

from partialfc.data.sources.recordio_index import read_index
from partialfc.errors import RecordError
from partialfc.files import replacing

log = logging.getLogger(__name__)

_MAGIC = 0xCED7230A
_MAGIC_BYTES = struct.pack("<I", _MAGIC)
_FRAME = struct.Struct("<II")  # magic, flag << 29 | length
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)  # the continuation flag
_LENGTH_BITS = 29
_MAX_LENGTH = (1 << _LENGTH_BITS) - 1

_HEADER = struct.Struct("<IfQQ")  # flag, scalar label, id, id2


Buffer = TypeVar("Buffer", bytes, memoryview)


@dataclass(frozen=True, slots=True)
class Header:
    """MXNet's IRHeader: flag 0 means one scalar label, flag n > 0 a vector of n float32 labels."""

    flag: int
    label: tuple[float, ...]
    id: int = 0
    id2: int = 0


def pack(header: Header, image: bytes) -> bytes:
    """The payload that MXNet's `pack` gives; ValueError where the labels do not fit the flag."""
    if len(header.label) != max(header.flag, 1):
        raise ValueError(
            f"label has {len(header.label)} values and flag is {header.flag}: "
            "flag 0 takes one value, flag n > 0 takes n"
        )
    if header.flag == 0:
        return _HEADER.pack(0, header.label[0], header.id, header.id2) + image
    labels = struct.pack(f"<{header.flag}f", *header.label)
    return _HEADER.pack(header.flag, 0.0, header.id, header.id2) + labels + image


def unpack(payload: Buffer) -> tuple[Header, Buffer]:
    """The header and the image behind it; a memoryview's image is a view, so nothing is copied."""
    if len(payload) < _HEADER.size:
        raise RecordError(f"payload of {len(payload)} bytes: its header alone takes {_HEADER.size}")
    flag, scalar, record_id, id2 = _HEADER.unpack_from(payload)
    if flag == 0:
        return Header(0, (scalar,), record_id, id2), payload[_HEADER.size :]
    start = _HEADER.size + 4 * flag
    if start > len(payload):
        raise RecordError(
            f"payload of {len(payload)} bytes: flag {flag} promises {flag} labels, {start} bytes"
        )
    labels = struct.unpack_from(f"<{flag}f", payload, _HEADER.size)
    return Header(flag, labels, record_id, id2), payload[start:]


class RecordReader:
    """The payloads of a `.rec` file by integer key, over mmap.

    Keys come from the `.idx` beside it; without one the file is scanned and keys are 0..n-1 in file order.
    Opening checks every offset's range and the first and last record; each other record is checked when
    read, because checking all would read the whole file. The map is opened on first use and left out of a
    pickle; being read-only, it survives a fork.
    """

    keys: npt.NDArray[np.int64]  # [n], ascending

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._mapped: mmap.mmap | None = None
        index = self.path.with_suffix(".idx")
        size = len(self._map)
        if index.exists():
            self.keys, self._offsets = read_index(index, last_offset=size - _FRAME.size)
        else:
            log.warning("%s: no %s beside it, scanning all records", self.path, index.name)
            self._offsets = self._scan()
            self.keys = np.arange(len(self._offsets), dtype=np.int64)
        for at in (int(self._offsets.argmin()), int(self._offsets.argmax())):
            self._parts(int(self.keys[at]), int(self._offsets[at]))

    def read(self, key: int) -> bytes:
        """The payload of record `key`; RecordError where it is missing or damaged."""
        return bytes(self.view(key))

    def view(self, key: int) -> memoryview:
        """Like `read`, but mapped: only what is looked at is read from disk. Release it before `close`."""
        parts, _ = self._parts(key, self._offset(key))
        if len(parts) == 1:
            return memoryview(self._map)[parts[0]]
        return memoryview(_MAGIC_BYTES.join(self._map[part] for part in parts))

    def close(self) -> None:
        """Unmap the file; a later read maps it again."""
        if self._mapped is not None:
            self._mapped.close()
            self._mapped = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_mapped": None}

    @property
    def _map(self) -> mmap.mmap:
        if self._mapped is None:
            try:
                with self.path.open("rb") as file:
                    self._mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except OSError as error:
                raise RecordError(f"{self.path}: cannot be opened: {error.strerror}") from error
            except ValueError as error:
                raise RecordError(f"{self.path}: the file is empty, so it holds no record") from error
        return self._mapped

    def _offset(self, key: int) -> int:
        # Keys nearly always count up without gaps: try that place before searching.
        guess = key - int(self.keys[0])
        if not (0 <= guess < len(self.keys) and self.keys[guess] == key):
            guess = int(np.searchsorted(self.keys, key))
            if guess == len(self.keys) or self.keys[guess] != key:
                raise RecordError(
                    f"{self.path}: no record {key}; "
                    f"its {len(self.keys)} keys lie in {self.keys[0]}..{self.keys[-1]}"
                )
        return int(self._offsets[guess])

    def _parts(self, key: int, offset: int) -> tuple[list[slice], int]:
        """Where the frames of the record at `offset` keep their bytes, and where the next record starts."""
        data = self._map
        size = len(data)
        parts: list[slice] = []
        allowed = (_WHOLE, _FIRST)
        while True:
            if offset + _FRAME.size > size:
                raise self._damage(key, offset, f"the file ends there, at byte {size}; it was cut short")
            magic, word = _FRAME.unpack_from(data, offset)
            if magic != _MAGIC:
                raise self._damage(
                    key, offset, f"starts with 0x{magic:08x}, the magic word is 0x{_MAGIC:08x}"
                )
            flag, length = word >> _LENGTH_BITS, word & _MAX_LENGTH
            if flag not in allowed:
                raise self._damage(
                    key, offset, f"continuation flag {flag}, only {allowed[0]} or {allowed[1]} fit here"
                )
            start = offset + _FRAME.size
            following = start + -(-length // 4) * 4
            if following > size:
                raise self._damage(
                    key, offset, f"length {length} runs past the end of the file at byte {size}"
                )
            parts.append(slice(start, start + length))
            if flag in (_WHOLE, _LAST):
                return parts, following
            offset, allowed = following, (_MIDDLE, _LAST)

    def _damage(self, key: int, offset: int, what: str) -> RecordError:
        return RecordError(f"{self.path}: record {key} at byte {offset}: {what}")

    def _scan(self) -> npt.NDArray[np.int64]:
        offsets = array("q")
        offset = 0
        while offset < len(self._map):
            offsets.append(offset)
            _, offset = self._parts(len(offsets) - 1, offset)
        return np.frombuffer(offsets, dtype=np.int64)


class RecordWriter:
    """Writes `path` (.rec) and its .idx: `with RecordWriter(path) as writer: writer.write(key, payload)`.

    Both are written beside and renamed when the block ends well; an error leaves nothing behind.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if self.path.suffix != ".rec":
            raise ValueError(f"path {str(path)!r} must end in .rec")
        self._last_key = -1
        self._end = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            # The .rec is opened first, so it is put in place last: once it is there, its index is too.
            records = stack.enter_context(replacing(self.path))
            index = stack.enter_context(replacing(self.path.with_suffix(".idx")))
            self._records = stack.enter_context(records.open("wb"))
            self._index = stack.enter_context(index.open("wb"))
            self._open = stack.pop_all()
        return self

    def write(self, key: int, payload: bytes) -> int:
        """Append a record and return its byte offset; keys must ascend, a payload is below 2**29 bytes."""
        if key <= self._last_key:
            raise ValueError(f"key {key} after {self._last_key}: keys must ascend from 0")
        if len(payload) > _MAX_LENGTH:
            raise ValueError(f"payload of record {key} has {len(payload)} bytes, at most {_MAX_LENGTH} fit")
        offset = self._end
        self._end += self._records.write(_frames(payload))
        self._index.write(b"%d\t%d\n" % (key, offset))
        self._last_key = key
        return offset

    def overwrite(self, offset: int, payload: bytes) -> None:
        """Replace the record at `offset` by one of the same length: a header known only at the end."""
        self._records.seek(offset)
        self._records.write(_frames(payload))
        self._records.seek(0, os.SEEK_END)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)


def _frames(payload: bytes) -> bytes:
    """The record's bytes in the file: the payload cut at each aligned magic word, framed and padded."""
    parts: list[bytes] = []
    start = 0
    found = payload.find(_MAGIC_BYTES)
    while found >= 0:
        if found % 4 == 0:
            parts.append(payload[start:found])
            start = found + 4
            found = payload.find(_MAGIC_BYTES, start)
        else:
            found = payload.find(_MAGIC_BYTES, found + 1)
    parts.append(payload[start:])

    flags = [_WHOLE] if len(parts) == 1 else [_FIRST, *[_MIDDLE] * (len(parts) - 2), _LAST]
    framed = [
        _FRAME.pack(_MAGIC, flag << _LENGTH_BITS | len(part)) + part
        for flag, part in zip(flags, parts, strict=True)
    ]
    return b"".join(framed) + bytes(-len(payload) % 4)
