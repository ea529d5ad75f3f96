"""Rows that are written piece by piece to a file beside the one they are for, so that a kill loses little.

The pieces follow each other in `OUT.partial`, behind room for the header of a `.npy`. After each few,
`OUT.partial.json` says how far they go, once they are on the disk; what lies beyond is written again.
"""

import glob
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from partialfc.errors import ConfigError, DataError
from partialfc.files import lock, named, remove, replacing, sync, write_at, write_whole

ANEW = "begin anew with --overwrite"
HEADER = 128  # bytes of a .npy before its numbers: a multiple of 64, with room for any shape
BLOCK = 1 << 23  # bytes of rows that are in memory at a time


@dataclass(slots=True)
class Journal:
    """images: how many were gone through. rows: how many were written. bad: the others, and why.

    states: of the images that were gone through, by `chained`.
    """

    images: int = 0
    rows: int = 0
    bad: list[tuple[int, str]] = field(default_factory=list)
    states: str = ""


class RowFile:
    """Rows float32 [n, width] for `path`, begun or gone on with. Use `writing` to have one."""

    def __init__(self, path: Path, width: int, journal: Journal, plan: Mapping[str, Any], file: int) -> None:
        self.path, self.width, self.journal = path, width, journal
        self._plan, self._file = plan, file

    @property
    def partial(self) -> Path:
        return partial_of(self.path)

    def append(
        self,
        rows: npt.NDArray[np.float32],
        *,
        images: int,
        bad: list[tuple[int, str]],
        states: Iterable[str] = (),
    ) -> None:
        """Write the rows [m, width] of images up to number `images`, but for the bad ones among them.

        states: of these images.
        """
        place = HEADER + self.journal.rows * self.width * 4
        with named(self.partial):
            write_at(self._file, rows.astype("<f4", copy=False).tobytes(), place)
        self.journal.images, self.journal.rows = images, self.journal.rows + len(rows)
        self.journal.bad += bad
        self.journal.states = chained(self.journal.states, states)

    def begin_anew(self) -> None:
        """Forget what was written."""
        with named(self.partial):
            os.ftruncate(self._file, HEADER)
        remove(_journal_of(self.path))
        self.journal = Journal()

    def save(self) -> None:
        """Have what was written so far outlive a kill."""
        with named(self.partial):
            os.fsync(self._file)
        found = self.journal
        written = {"images": found.images, "rows": found.rows, "bad": found.bad, "states": found.states}
        write_whole(_journal_of(self.path), json.dumps({**self._plan, "written": written}) + "\n")

    def blocks(self, size: int | None = None) -> Iterator[npt.NDArray[np.float32]]:
        """The rows from the first on, a block at a time; read, for a map would grow with the rows."""
        size = size or max(1, BLOCK // (4 * self.width))
        for start in range(0, self.journal.rows, size):
            rows = np.empty((min(size, self.journal.rows - start), self.width), "<f4")
            left, place = rows.data.cast("B"), HEADER + start * self.width * 4
            with named(self.partial):
                while left:
                    read = os.preadv(self._file, [left], place)
                    if not read:
                        raise DataError(f"{self.partial}: was cut while it was read; begin anew")
                    left, place = left[read:], place + read
            yield rows

    def to_npy(self) -> None:
        """Become the `.npy` that it is for."""
        with named(self.partial):
            write_at(self._file, npy_header(self.journal.rows, self.width), 0)
            os.fsync(self._file)
        self.partial.replace(self.path)
        sync(self.path.parent)

    def forget(self) -> None:
        """Delete what was kept for going on."""
        remove(self.partial)
        remove(_journal_of(self.path))


@contextmanager
def writing(
    path: Path, *, width: int, plan: Mapping[str, Any], overwrite: bool = False, anew: str = ANEW
) -> Iterator[RowFile]:
    """The rows for `path`, as far as an earlier process with the same plan wrote them.

    plan: what decides the rows, by names that a message may use; a JSON object. overwrite: begin anew, and
    replace `path`, which a process that goes on then does too. anew: how a user does that, for messages.

    Raises ConfigError where `path` is there already and there is nothing to go on with, where it was begun
    with another plan, or another process is writing it; DataError where what was kept is damaged.
    """
    partial, journal = partial_of(path), _journal_of(path)
    if path.exists() and not partial.exists() and not overwrite:
        remove(journal)  # of a process that was killed when all was done
        raise ConfigError(f"{path}: exists already; name another file, or replace it with --overwrite")
    file = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if not lock(file):
            raise ConfigError(f"{path}: another process is writing it; wait, or name another file")
        if overwrite:
            remove(journal)
        sweep(path)
        sweep(journal)
        found = _read(journal, plan, path, anew)
        end = HEADER + found.rows * width * 4
        if found.rows and os.fstat(file).st_size < end:
            raise DataError(f"{partial}: is shorter than {journal} says; {anew}")
        os.ftruncate(file, end)
        yield RowFile(path, width, found, plan, file)
    finally:
        os.close(file)


def chained(before: str, states: Iterable[str]) -> str:
    """What tells texts, behind those that gave `before`, from others: 64 digits; "" where there was none."""
    for state in states:
        before = hashlib.sha256(f"{before} {state}".encode()).hexdigest()
    return before


def partial_of(path: Path) -> Path:
    """Where the rows for a file are written."""
    return path.with_name(f"{path.name}.partial")


def npy_header(*shape: int, descr: str = "<f4") -> bytes:
    """Of an array of this shape, HEADER bytes: NumPy's format 1.0."""
    said = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    start = b"\x93NUMPY\x01\x00" + (HEADER - 10).to_bytes(2, "little")
    return start + said.ljust(HEADER - 11) + b"\n"


def write_lines(path: Path, lines: Iterator[tuple[str, str]]) -> None:
    """Write a key and what belongs to it on each line, a tab between; a reader sees the old file or this."""
    with replacing(path) as beside, beside.open("w", encoding="utf-8", errors="surrogateescape") as file:
        for key, label in lines:
            file.write(f"{key}\t{label}\n")


def sweep(path: Path) -> None:
    """Delete what processes that were killed left beside a file that this one alone writes."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        remove(left)


def _journal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.partial.json")


def _read(journal: Path, plan: Mapping[str, Any], path: Path, anew: str) -> Journal:
    try:
        document = json.loads(journal.read_text())
        written = document["written"]
        bad = [(index, why) for index, why in written["bad"]]
        found = Journal(written["images"], written["rows"], bad, str(written["states"]))
        if not 0 <= found.rows <= found.images:
            raise ValueError(f"{found.rows} rows of {found.images} images")
    except FileNotFoundError:
        return Journal()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{journal}: is damaged: {error!r}; {anew}") from error
    for name, value in plan.items():
        if document.get(name) != value:
            shown = f", {document.get(name)} then and {value} now" if isinstance(value, int) else ""
            raise ConfigError(f"{path} was begun with another {name}{shown}; go on with that one, or {anew}")
    return found
