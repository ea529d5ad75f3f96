"""The text of a `.idx`: lines of `key TAB offset`, as numbers.

Neighbouring lines nearly always have keys of as many digits, and offsets too. Such lines are a matrix of
digits, and its product with powers of ten is the numbers: several times as fast as a parser of numbers. Where
they have not, as of shuffled keys, the digits before each end are gathered, eight at a time.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from partialfc.errors import RecordIndexError

BLOCK = 1 << 19  # bytes of text that are read at a time: what is made of them fits the cache
DELETE = "delete it to have the .rec scanned instead"
LINE = re.compile(rb"\d{1,18}\t\d{1,18}\n")  # 18 digits fit int64

_MOST = 18
_BEFORE = 24  # bytes of three windows of eight digits
_EIGHT = np.uint64(10**8)
_ZEROS = np.uint64(0x3030303030303030)
_SUMS = (
    tuple(  # (times, bits, kept): neighbours become one number: (10 * first + second) in the place of both
        tuple(map(np.uint64, step))
        for step in (
            (10 << 8 | 1, 8, 0x00FF00FF00FF00FF),
            (100 << 16 | 1, 16, 0x0000FFFF0000FFFF),
            (10_000 << 32 | 1, 32, 0x00000000FFFFFFFF),
        )
    )
)
_GROUP = 7  # digits whose number float32 holds exactly, with every sum on the way to it
_POWERS = (10 ** np.arange(_GROUP)[::-1]).astype(np.float32)
_STRETCHES = 2  # of lines alike in a block; where there are more, the ends of the rest are looked for

Numbers = npt.NDArray[np.int64]
Lines = tuple[Numbers, Numbers]  # keys [n], offsets [n]


def read_lines(path: Path, file: IO[bytes]) -> Iterator[Lines]:
    """Keys and offsets of the lines, in their order, in parts; RecordIndexError for a line that is none."""
    done = 0
    for block in _line_blocks(file):
        for keys, offsets in _parse(path, done, block):
            done += len(keys)
            yield keys, offsets


def _line_blocks(file: IO[bytes]) -> Iterator[bytes]:
    """The file in blocks of whole lines, each ending in a newline."""
    while block := file.read(BLOCK):
        block += file.readline()
        yield block if block.endswith(b"\n") else block + b"\n"


def _parse(path: Path, before: int, block: bytes) -> Iterator[Lines]:
    """A block's lines; `before` lines precede it."""
    at = 0
    for _ in range(_STRETCHES):
        if at == len(block):
            return
        found = _lines_alike(block, at)
        if found is None:
            break
        keys, offsets, width = found
        yield keys, offsets
        at += len(keys) * width
        before += len(keys)
    if at < len(block):
        yield _any_lines(path, before, block[at:])


def _lines_alike(block: bytes, at: int) -> tuple[Numbers, Numbers, int] | None:
    """The lines from byte `at` on that are laid out as the first of them, and its width.

    None where that is no line, or what looks like one of the others is none.
    """
    width = block.index(b"\n", at) + 1 - at
    tab = block.find(b"\t", at, at + width) - at
    if not (1 <= tab <= _MOST and 1 <= width - tab - 2 <= _MOST):
        return None
    text = np.frombuffer(block, np.uint8, offset=at)
    lines = text[: len(text) // width * width].reshape(-1, width)
    alike = (lines[:, tab] == ord("\t")) & (lines[:, -1] == ord("\n"))
    lines = lines[: len(lines) if alike.all() else int(alike.argmin())]
    digits = lines - np.uint8(ord("0"))  # what lies below the digits wraps around to more than 9
    if np.count_nonzero(digits > 9) != 2 * len(lines):
        return None
    exact = digits.astype(np.float32)
    return _numbers(exact[:, :tab]), _numbers(exact[:, tab + 1 : -1]), width


def _numbers(digits: npt.NDArray[np.float32]) -> Numbers:
    """Digits [n, d] -> the numbers [n] that they spell."""
    total = np.zeros(len(digits), np.int64)
    for start in range(0, digits.shape[1], _GROUP):
        part = digits[:, start : start + _GROUP]
        powers = _POWERS[-part.shape[1] :]
        total = total * 10 ** len(powers) + (part @ powers).astype(np.int64)
    return total


def _ending_at(text: npt.NDArray[np.uint8], ends: Numbers, widths: Numbers) -> Numbers:
    """The numbers [n] whose digits, `widths` [n] of them, stand in the text before `ends` [n].

    Eight digits at a time are one number of 64 bits, its last digit the highest byte, in which neighbours are
    added up: two digits, four, eight.
    """
    windows = np.ndarray(len(text) - 7, "<u8", text, strides=(1,))  # one from each byte on
    total = np.zeros(len(ends), np.uint64)
    for back in range((int(widths.max()) - 1) // 8 * 8, -1, -8):
        part = windows[ends - (back + 8)] ^ _ZEROS
        if widths.min() < back + 8:  # other bytes stand before some of the digits
            others = (8 * (back + 8 - widths).clip(0, 8)).astype(np.uint64)
            part = part >> others << others
        for times, bits, kept in _SUMS:
            part = (part * times >> bits) & kept
        total = total * _EIGHT + part
    return total.view(np.int64)


def _any_lines(path: Path, before: int, block: bytes) -> Lines:
    text = np.frombuffer(block, np.uint8)
    breaks = np.flatnonzero(text < ord("0"))
    widths = np.diff(breaks, prepend=-1) - 1
    well_formed = (
        len(breaks) % 2 == 0
        and text.max() <= ord("9")
        and (text[breaks[0::2]] == ord("\t")).all()
        and (text[breaks[1::2]] == ord("\n")).all()
        and widths.min() >= 1
        and widths.max() <= _MOST
    )
    if well_formed:
        padded = np.frombuffer(b"0" * _BEFORE + block, np.uint8)
        ends = breaks + _BEFORE
        return _ending_at(padded, ends[::2], widths[::2]), _ending_at(padded, ends[1::2], widths[1::2])
    for number, line in enumerate(block.splitlines(keepends=True), start=before + 1):
        if not LINE.fullmatch(line):
            raise RecordIndexError(
                f"{path}: line {number}: {line[:80]!r} is not `key<TAB>offset`, two whole numbers; {DELETE}"
            )
    raise AssertionError("the two checks of an index line disagree")
