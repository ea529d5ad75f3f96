"""Rows with names in files: `rows-N.npy`, for int8 `scales-N.npy`, and `names-N.txt`, name and key a line.

A file is written once and never changed. int8 rows are stored as bytes, 128 + round(x / scale).
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from partialfc.data.sources.keys import as_key, from_key
from partialfc.errors import DataError
from partialfc.files import named
from partialfc.serving.gallery.manifest import Part, Storage
from partialfc.serving.gallery.names import in_one_form
from partialfc.serving.row_file import HEADER, npy_header
from partialfc.serving.rows import Rows

ZERO = 128  # the byte of an int8 0
LARGEST = 127
SPREADS = 5.5  # standard deviations of a unit row's numbers that the scale of most rows reaches
MOST_ROWS = 1 << 20  # of a segment
BLOCK = 1 << 14  # names in memory at a time
TYPES: dict[Storage, Any] = {"float32": np.dtype("<f4"), "float16": np.dtype("<f2"), "int8": np.dtype("u1")}

Name = tuple[str, str]  # and the key of the image


@dataclass(frozen=True, slots=True)
class Stored:
    """Rows [n, D] as they lie in files, for int8 with their scales [n], and the name and key of each."""

    rows: npt.NDArray[Any]
    scales: npt.NDArray[np.float32] | None
    names: Sequence[Name]


def as_stored(rows: Rows, names: Sequence[Name], storage: Storage) -> Stored:
    """Unit rows float32 [n, D] in a storage.

    int8: all rows have the same scale, 5.5 standard deviations of their numbers to 127, so that the products
    of a block can be compared with one number; a row with a larger number has a scale of its own.
    """
    if storage != "int8":
        return Stored(rows.astype(TYPES[storage]), None, names)
    usual = SPREADS / np.sqrt(max(1, rows.shape[1])) / LARGEST
    largest = np.abs(rows).max(axis=1, initial=0.0) / LARGEST
    scales = np.maximum(largest, usual).astype(np.float32)
    numbers = np.rint(rows / scales[:, None]).clip(-LARGEST, LARGEST)
    return Stored((numbers + ZERO).astype(np.uint8), scales, names)


class StoredRows(ABC):
    """Rows that a search goes through: `rows` [n, D], for int8 bytes, with `scales` [n].

    hidden: bool [n], which of them were removed since they were written; None: none.
    """

    storage: Storage
    rows: npt.NDArray[Any]
    scales: npt.NDArray[np.float32] | None = None
    hidden: npt.NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def width(self) -> int:
        """D."""
        return int(self.rows.shape[1])

    @property
    def shown(self) -> int:
        """How many are not hidden."""
        return len(self) - (0 if self.hidden is None else int(self.hidden.sum()))

    def floats(self, places: Any) -> npt.NDArray[np.float64]:
        """The rows at places [m], or of a slice, as numbers."""
        rows: npt.NDArray[np.float64] = self.rows[places].astype(np.float64)
        if self.scales is not None:
            rows -= ZERO
            rows *= self.scales[places, None]
        return rows

    @abstractmethod
    def name(self, place: int) -> Name:
        """The name and the key of a row."""

    @abstractmethod
    def each_name(self) -> Iterator[bytes]:
        """What the name of each row is told by, in order; see `told_by`."""

    @abstractmethod
    def without(self, names: Collection[bytes]) -> "StoredRows":
        """These, but for the rows of some names, each as `told_by` gives it."""


class Segment(StoredRows):
    """The rows of a part, mapped, not read.

    Raises DataError where a file is missing or is not as long as it must be.
    """

    def __init__(self, folder: Path, part: Part, storage: Storage, width: int) -> None:
        self.part, self.storage = part, storage
        self._names_path = _path(folder, "names", part.number)
        self.rows = _mapped(_path(folder, "rows", part.number), (part.rows, width), TYPES[storage])
        if storage == "int8":
            self.scales = np.array(
                _mapped(_path(folder, "scales", part.number), (part.rows,), np.dtype("<f4"))
            )
        with _told(self._names_path):
            self._text = np.memmap(self._names_path, np.uint8, "r")

    def stored(self, start: int, stop: int) -> Stored:
        """Some of the rows, as they are, but for the hidden ones."""
        places = np.arange(start, stop)
        if self.hidden is not None:
            places = places[~self.hidden[start:stop]]
        scales = None if self.scales is None else self.scales[places]
        return Stored(self.rows[places], scales, [self.name(place) for place in places.tolist()])

    def without(self, names: Collection[bytes]) -> "Segment":
        if not names:
            return self
        gone = np.fromiter((name in names for name in self.each_name()), np.bool_, len(self))
        if self.hidden is not None:
            gone |= self.hidden
        if not gone.any():
            return self
        less = copy(self)
        less.hidden = gone
        return less

    def name(self, place: int) -> Name:
        line = self._text[self._starts[place] : self._starts[place + 1] - 1].tobytes()
        name, _, key = line.decode("utf-8", "surrogateescape").partition("\t")
        return from_key(name), key

    def each_name(self) -> Iterator[bytes]:
        for start in range(0, len(self), BLOCK):
            text = self._text[self._starts[start] : self._starts[min(start + BLOCK, len(self))]].tobytes()
            for line in text.split(b"\n")[:-1]:
                name = line.partition(b"\t")[0]
                yield name if name.isascii() else _one_form(name)

    @cached_property
    def _starts(self) -> npt.NDArray[np.int64]:
        """[n + 1]: where each line begins, and the end."""
        ends = [
            np.flatnonzero(self._text[start : start + (1 << 24)] == ord("\n")) + start + 1
            for start in range(0, len(self._text), 1 << 24)
        ]
        starts = np.concatenate([[0], *ends]).astype(np.int64)
        if len(starts) != len(self) + 1:
            raise DataError(f"{self._names_path}: has {len(starts) - 1} lines for {len(self)} rows")
        return starts


def told_by(name: str) -> bytes:
    """What tells a name from others: as a segment's file has it, in one form (names.py)."""
    return in_one_form(as_key(name)).encode("utf-8", "surrogateescape")


def _one_form(name: bytes) -> bytes:
    """Of a name as a segment's file has it."""
    return in_one_form(name.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


class SegmentWriter:
    """Stored rows to the files of new parts, numbered from `number` on; at most MOST_ROWS in each."""

    def __init__(self, folder: Path, number: int, storage: Storage, width: int) -> None:
        self.parts: list[Part] = []
        self.number = number
        self._folder, self._storage, self._width = folder, storage, width
        self._files: dict[str, IO[bytes]] = {}
        self._open = ExitStack()
        self._rows = 0

    def write(self, stored: Stored) -> None:
        with named(self._folder):
            for start in range(0, len(stored.rows), MOST_ROWS):
                self._write(_slice(stored, start, start + MOST_ROWS))

    def finish(self) -> list[Part]:
        """The parts that were written, which are on the disk now."""
        if self._rows:
            for kind, file in self._files.items():
                with named(self._folder):
                    if kind != "names":
                        shape = (self._rows, self._width) if kind == "rows" else (self._rows,)
                        file.seek(0)
                        file.write(npy_header(*shape, descr=self._type(kind).str))
                    file.flush()
                    os.fsync(file.fileno())
            self.parts.append(Part(self.number, self._rows))
            self.number += 1
            self._rows = 0
        self.close()
        return self.parts

    def close(self) -> None:
        """Close what is open; unless it was finished, its files belong to nothing."""
        with named(self._folder):
            self._open.close()
        self._files = {}

    def _write(self, stored: Stored) -> None:
        room = MOST_ROWS - self._rows
        if len(stored.rows) > room:
            self._write(_slice(stored, 0, room))
            self.finish()
            stored = _slice(stored, room, len(stored.rows))
        if not len(stored.rows):
            return
        if not self._files:
            self._begin()
        self._files["rows"].write(np.ascontiguousarray(stored.rows).tobytes())
        if stored.scales is not None:
            self._files["scales"].write(stored.scales.astype("<f4").tobytes())
        text = "".join(f"{as_key(name)}\t{key}\n" for name, key in stored.names)
        self._files["names"].write(text.encode("utf-8", "surrogateescape"))
        self._rows += len(stored.rows)

    def _begin(self) -> None:
        for kind in ("rows", "names", *(["scales"] if self._storage == "int8" else [])):
            file = self._open.enter_context(_path(self._folder, kind, self.number).open("wb"))
            if kind != "names":
                file.write(bytes(HEADER))
            self._files[kind] = file

    def _type(self, kind: str) -> Any:
        return TYPES[self._storage] if kind == "rows" else np.dtype("<f4")


def _slice(stored: Stored, start: int, stop: int) -> Stored:
    scales = None if stored.scales is None else stored.scales[start:stop]
    return Stored(stored.rows[start:stop], scales, stored.names[start:stop])


def _path(folder: Path, kind: str, number: int) -> Path:
    return folder / f"{kind}-{number:06d}.{'txt' if kind == 'names' else 'npy'}"


def _mapped(path: Path, shape: tuple[int, ...], dtype: Any) -> npt.NDArray[Any]:
    with _told(path):
        size = HEADER + int(np.prod(shape)) * dtype.itemsize
        if path.stat().st_size != size:
            raise DataError(
                f"{path}: has {path.stat().st_size} bytes, and {shape} takes {size}: it is damaged"
            )
        # not as a memmap, whose slices take longer to make
        return np.asarray(np.memmap(path, dtype, "r", offset=HEADER, shape=shape))


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """A file that cannot be read is the gallery's damage; one that is gone may be an older state's."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise (
            error if isinstance(error, DataError) else DataError(f"{path}: cannot be read: {error}")
        ) from error
