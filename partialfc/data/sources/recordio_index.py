"""The `.idx` file beside a `.rec`: a line of `key TAB offset` per record."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from partialfc.errors import RecordIndexError

BLOCK = 1 << 24
DELETE = "delete it to have the .rec scanned instead"
STALE = f"the index does not fit the .rec; {DELETE}"
LINE = re.compile(rb"\d{1,18}\t\d{1,18}\n")


def read_index(path: Path) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Keys in ascending order and their offsets, multiples of 4; RecordIndexError where that cannot be.

    It is read in blocks, so that tens of millions of lines take seconds, and little more memory than the
    result (16 bytes a line).
    """
    try:
        with path.open("rb") as file:
            keys, offsets = _read_lines(path, file)
    except OSError as error:
        raise RecordIndexError(f"{path}: cannot be read: {error.strerror}; {DELETE}") from error
    odd = offsets % 4 != 0
    if odd.any():
        line = int(odd.argmax())
        raise RecordIndexError(
            f"{path}: line {line + 1}: offset {offsets[line]} must be a multiple of 4; {STALE}"
        )
    if not (keys[1:] > keys[:-1]).all():
        order = np.argsort(keys, kind="stable")
        keys, offsets = keys[order], offsets[order]
        repeated = keys[1:] == keys[:-1]
        if repeated.any():
            at = int(repeated.argmax()) + 1
            raise RecordIndexError(f"{path}: line {order[at] + 1}: key {keys[at]} appears twice; {STALE}")
    return keys, offsets


def require_distinct(path: Path, keys: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64]) -> None:
    """RecordIndexError where two keys have the same offset; both [n], in ascending order of the offsets."""
    repeated = offsets[1:] == offsets[:-1]
    if repeated.any():
        at = int(repeated.argmax())
        raise RecordIndexError(
            f"{path}: keys {keys[at]} and {keys[at + 1]} both have the offset {offsets[at]}; {STALE}"
        )


def _read_lines(path: Path, file: IO[bytes]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    lines = sum(block.count(b"\n") for block in _line_blocks(file))
    if lines == 0:
        raise RecordIndexError(f"{path}: the index is empty; {DELETE}")
    keys, offsets = np.empty(lines, np.int64), np.empty(lines, np.int64)
    file.seek(0)
    done = 0
    for block in _line_blocks(file):
        rows = _parse_index(path, done, block)
        keys[done : done + len(rows)], offsets[done : done + len(rows)] = rows[:, 0], rows[:, 1]
        done += len(rows)
    return keys, offsets


def _line_blocks(file: IO[bytes]) -> Iterator[bytes]:
    """The file in blocks of whole lines, each ending in a newline."""
    while block := file.read(BLOCK):
        block += file.readline()
        yield block if block.endswith(b"\n") else block + b"\n"


def _parse_index(path: Path, before: int, block: bytes) -> npt.NDArray[np.int64]:
    """Lines of `key TAB offset` -> int64 [n, 2]; `before` lines precede the block."""
    text = np.frombuffer(block, np.uint8)
    breaks = np.flatnonzero(text < ord("0"))
    widths = np.diff(breaks, prepend=-1) - 1
    well_formed = (
        len(breaks) % 2 == 0
        and text.max() <= ord("9")
        and (text[breaks[0::2]] == ord("\t")).all()
        and (text[breaks[1::2]] == ord("\n")).all()
        and widths.min() >= 1
        and widths.max() <= 18  # fits int64
    )
    if well_formed:
        return np.fromstring(block, np.int64, sep=" ").reshape(-1, 2)
    for number, line in enumerate(block.splitlines(keepends=True), start=before + 1):
        if not LINE.fullmatch(line):
            raise RecordIndexError(
                f"{path}: line {number}: {line[:80]!r} is not `key<TAB>offset`, two whole numbers; {DELETE}"
            )
    raise AssertionError("the two checks of an index line disagree")
