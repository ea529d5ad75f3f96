"""dmlc RecordIO, the `.rec` and `.idx` files of MXNet, byte for byte and without MXNet.

A record is one or more frames: magic word, length word (3 bits continuation flag, 29 bits length), payload,
zero padding to 4 bytes. A payload that holds the magic word at a multiple of 4 bytes is cut there into
several frames, without the word, which so marks only the start of frames; readers put it back.
Format: dmlc-core `recordio.h`; `IRHeader`: MXNet `python/mxnet/recordio.py`.
"""

import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from partialfc.errors import RecordError
from partialfc.files import OF_WRITING, replacing

MAGIC = 0xCED7230A
MAGIC_BYTES = struct.pack("<I", MAGIC)
FRAME = struct.Struct("<II")  # magic, flag << 29 | length
WHOLE, FIRST, MIDDLE, LAST = range(4)  # the continuation flag
_LENGTH_BITS = 29
MAX_LENGTH = (1 << _LENGTH_BITS) - 1

_HEADER = struct.Struct("<IfQQ")  # flag, scalar label, id, id2
EXACT = 1 << 24  # labels are float32, which holds every whole number below


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


def unpack_start(start: bytes, length: int) -> tuple[Header, bool] | None:
    """The header and whether an image follows, of a payload of `length` bytes that begins with `start`.

    None where its header is longer than `start`, or damaged.
    """
    if len(start) < _HEADER.size:
        return None
    end = _HEADER.size + 4 * int.from_bytes(start[:4], "little")
    if end > min(len(start), length):
        return None
    header, _ = unpack(start[:end])
    return header, length > end


def split_word(word: int) -> tuple[int, int]:
    """A frame's second word -> its continuation flag, and the length of its payload in bytes."""
    return word >> _LENGTH_BITS, word & MAX_LENGTH


def padded(length: int) -> int:
    """The bytes that a payload takes in the file."""
    return -(-length // 4) * 4


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
            stack.enter_context(_naming(self.path))
            self._records = stack.enter_context(records.open("wb"))
            self._index = stack.enter_context(index.open("wb"))
            self._open = stack.pop_all()
        return self

    def write(self, key: int, payload: bytes) -> int:
        """Append a record and return its byte offset; keys must ascend, a payload is below 2**29 bytes."""
        if key <= self._last_key:
            raise ValueError(f"key {key} after {self._last_key}: keys must ascend from 0")
        if len(payload) > MAX_LENGTH:
            raise ValueError(f"payload of record {key} has {len(payload)} bytes, at most {MAX_LENGTH} fit")
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


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let the error of a full disk be of the .rec, which takes the room, and not of its small .idx."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in OF_WRITING:
            error.filename = str(path)
        raise


def _frames(payload: bytes) -> bytes:
    """The record's bytes in the file: the payload cut at each aligned magic word, framed and padded."""
    parts: list[bytes] = []
    start = 0
    found = payload.find(MAGIC_BYTES)
    while found >= 0:
        if found % 4 == 0:
            parts.append(payload[start:found])
            start = found + 4
            found = payload.find(MAGIC_BYTES, start)
        else:
            found = payload.find(MAGIC_BYTES, found + 1)
    parts.append(payload[start:])

    flags = [WHOLE] if len(parts) == 1 else [FIRST, *[MIDDLE] * (len(parts) - 2), LAST]
    framed = [
        FRAME.pack(MAGIC, flag << _LENGTH_BITS | len(part)) + part
        for flag, part in zip(flags, parts, strict=True)
    ]
    return b"".join(framed) + bytes(-len(payload) % 4)
