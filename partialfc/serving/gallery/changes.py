"""The log of a gallery: a file of what was added and removed since its other files were written.

A change is on the disk before it is answered.

The file is a head, MAGIC and a line of JSON, and then records: length and CRC-32 of what follows, the CRC-32
of these two, then kind, length of the name, the name in UTF-8, rows float32. Records are only ever appended,
so a process that is killed leaves at most a piece of them at the end. That was answered to nobody, and is cut
off when the file is opened; all other damage is an error.
"""

import errno
import json
import logging
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np

from partialfc.errors import DataError
from partialfc.files import sync, told, write_at
from partialfc.serving.card import Card
from partialfc.serving.gallery.manifest import Manifest
from partialfc.serving.gallery.names import in_one_form
from partialfc.serving.rows import Rows

logger = logging.getLogger(__name__)

MAGIC = b"partialfc changes 1\n"
LOG = "changes-"  # how its name begins
_RECORD = struct.Struct("<II")  # bytes of the payload, and its CRC-32
_CHECK = struct.Struct("<I")  # the CRC-32 of these two
_BEFORE = _RECORD.size + _CHECK.size
_KIND = struct.Struct("<cH")  # ADD or REMOVE, bytes of the name
ADD, REMOVE = b"+", b"-"
NUMBER = np.dtype("<f4")


@dataclass(frozen=True, slots=True)
class Change:
    """Rows [n, D] that were added under a name; None: all of that name were removed."""

    name: str
    rows: Rows | None


def net(changes: Iterable[Change]) -> tuple[set[str], list[tuple[str, Rows]]]:
    """What changes come to: the names whose earlier rows are gone, and the rows that were added, in order."""
    removed: set[str] = set()
    added: dict[str, list[tuple[int, str, Rows]]] = {}
    for number, change in enumerate(changes):
        if change.rows is None:
            removed.add(change.name)
            added.pop(in_one_form(change.name), None)
        else:
            added.setdefault(in_one_form(change.name), []).append((number, change.name, change.rows))
    ordered = sorted((each for listed in added.values() for each in listed), key=lambda each: each[0])
    return removed, [(name, rows) for _, name, rows in ordered]


class Changes:
    """A log, which one process may append to while others read.

    identity: of the model that gives the rows; width: D. writable: whether it is made where it is not there,
    and may be appended to, after `read`.
    """

    def __init__(self, path: Path, *, identity: str, width: int, writable: bool = True) -> None:
        self._path, self._width, self._writable = path, width, writable
        self._head = MAGIC + json.dumps({"identity": identity, "width": width}).encode() + b"\n"
        self._file = os.open(path, _flags(writable), 0o644)
        self._end = 0  # of what is on the disk and whole
        self.broken: str | None = None  # why nothing can be appended any longer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._file)

    def read(self) -> Iterator[Change]:
        """The changes from the first on; a piece of one at the end is left out, and cut off if `writable`.

        Raises DataError for a file of another model, or a damaged one.
        """
        with open(self._file, "rb", closefd=False) as file:
            file.seek(0)
            head = file.read(len(self._head))
            if len(head) < len(self._head) and self._head.startswith(head):  # killed as it was made
                if self._writable:
                    self._begin()
                return
            if head != self._head:
                raise DataError(
                    f"{self._path}: begins with {head[:60]!r}: it is no file of changes, or one of another "
                    "model; serve the model that they were made with, or move it away to be without them"
                )
            self._end = len(head)
            size = os.fstat(self._file).st_size
            while (payload := self._payload(file, size)) is not None:
                yield self._change(payload)
                self._end += _BEFORE + len(payload)
        if self._end < size and self._writable:
            logger.warning(
                "%s: cut %d bytes off, of a change that was not finished", self._path, size - self._end
            )
            os.ftruncate(self._file, self._end)
            os.fsync(self._file)

    def append(self, changes: Sequence[Change]) -> None:
        """Put changes on the disk, all of them with one wait for it.

        Raises OSError where the disk takes them not, and where the file's name leads to it no longer, as who
        opens the gallery next would not find them; then none of them is there. After a failure of the disk,
        other than a full one, nothing more is taken, as nobody knows what it holds.
        """
        assert self._end, "read finds where the next change belongs"
        if self.broken is not None:
            raise OSError(f"{self._path}: {self.broken}")
        data = b"".join(map(_record, changes))
        try:
            write_at(self._file, data, self._end)
            os.fsync(self._file)
            self._require_name()
        except OSError as error:
            error.filename = str(self._path)
            try:
                os.ftruncate(self._file, self._end)
                os.fsync(self._file)
            except OSError as worse:
                self.broken = told(worse)
            raise
        self._end += len(data)

    def _require_name(self) -> None:
        """Raises FileNotFoundError unless the file is where it was opened: not removed, moved or replaced."""
        with suppress(FileNotFoundError, NotADirectoryError):
            if os.path.samestat(os.stat(self._path), os.fstat(self._file)):
                return
        raise FileNotFoundError(errno.ENOENT, "was removed, moved or replaced while it was open")

    def _begin(self) -> None:
        os.ftruncate(self._file, 0)
        write_at(self._file, self._head, 0)
        os.fsync(self._file)
        sync(self._path.parent)
        self._end = len(self._head)

    def _payload(self, file: BinaryIO, size: int) -> bytes | None:
        """The next record's; None at the end, or where only a piece of a record follows."""
        before = file.read(_BEFORE)
        if len(before) < _BEFORE:
            return None
        length, checksum = _RECORD.unpack_from(before)
        stop = self._end + _BEFORE + length
        if _CHECK.unpack_from(before, _RECORD.size)[0] != zlib.crc32(before[: _RECORD.size]):
            if not any(before) and not any(file.read()):
                return None  # room that was taken on the disk, and not written to
            raise self._damaged("its length's checksum is another")
        payload = file.read(length) if stop <= size else b""
        if zlib.crc32(payload) == checksum and stop <= size:
            return payload
        if stop < size:
            raise self._damaged("its checksum is another")
        return None

    def _change(self, payload: bytes) -> Change:
        try:
            kind, length = _KIND.unpack_from(payload)
            start = _KIND.size + length
            name = payload[_KIND.size : start].decode()
            rows = np.frombuffer(payload, NUMBER, offset=start).reshape(-1, self._width).astype(np.float32)
        except (struct.error, ValueError) as error:
            raise self._damaged(str(error)) from error
        return Change(name, rows if kind == ADD else None)

    def _damaged(self, why: str) -> DataError:
        return DataError(
            f"{self._path}: the change at byte {self._end} is damaged: {why}; bring the file back from a "
            "copy, or cut it off there to be without that change and all after it"
        )


def is_log(name: str) -> bool:
    """Whether a file of a gallery is its log, by its name."""
    return name.startswith(LOG)


def log_of(folder: Path, number: int, card: Card, *, writable: bool) -> Changes:
    """A gallery's log, by its number."""
    path = folder / f"{LOG}{number:06d}.log"
    return Changes(path, identity=card.identity, width=card.embedding_size, writable=writable)


def read_log(folder: Path, manifest: Manifest) -> list[Change]:
    """The changes in a gallery's log. Raises FileNotFoundError where there should be one."""
    if manifest.log is None:
        return []
    with log_of(folder, manifest.log, manifest.card, writable=False) as log:
        return list(log.read())


def _flags(writable: bool) -> int:
    return os.O_CLOEXEC | (os.O_RDWR | os.O_CREAT if writable else os.O_RDONLY)


def _record(change: Change) -> bytes:
    name = change.name.encode()
    rows = b"" if change.rows is None else change.rows.astype(NUMBER).tobytes()
    payload = _KIND.pack(REMOVE if change.rows is None else ADD, len(name)) + name + rows
    before = _RECORD.pack(len(payload), zlib.crc32(payload))
    return before + _CHECK.pack(zlib.crc32(before)) + payload
