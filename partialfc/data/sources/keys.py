"""Files that name images of a source by their keys, a line each: which to take, or which to leave out."""

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partialfc.data.sources.labelled import Labelled
from partialfc.errors import DataError, printable
from partialfc.files import replacing

_BLOCK = 1 << 16
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_UNESCAPES = {"\\": "\\", "t": "\t", "n": "\n", "r": "\r"}
_ESCAPED = re.compile(r"\\([\\tnr])")


def as_key(name: str) -> str:
    r"""A file's name as a key: a tab, a line break and a backslash in it become `\t`, `\n`, `\r` and `\\`."""
    return name.translate(_ESCAPES)


def from_key(key: str) -> str:
    """The name that `as_key` made the key of."""
    return _ESCAPED.sub(lambda found: _UNESCAPES[found[1]], key)


def write_keys(path: Path, lines: Iterable[tuple[str, str]]) -> None:
    """Write (key, comment) a line each, with a tab between; where the comment is empty, the key alone.

    Line breaks in a comment, such as of a class's name, become spaces.
    """
    with replacing(path) as beside, beside.open("w", encoding="utf-8", errors="surrogateescape") as file:
        for key, comment in lines:
            said = printable(" ".join(comment.split()))
            file.write(f"{key}\t{said}\n" if said else f"{key}\n")


def read_keys(path: Path) -> Iterator[tuple[int, str]]:
    """(line number, key) of each line that is not blank; what follows a tab is a comment.

    Raises DataError where the file cannot be read.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                key = line.rstrip("\r\n").partition("\t")[0]
                if key:
                    yield number, key
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def select(source: Labelled, only: Path | None, leave_out: Path | None) -> NDArray[np.int64]:
    """The indices [m], ascending, of the images that `only` names and `leave_out` does not.

    None of either means all, and none; so does a `leave_out` that names no image, which a check writes that
    finds nothing. Raises DataError for a key that the source does not have, and where nothing is left.
    """
    kept = np.ones(len(source), np.bool_)
    if only is not None:
        kept = _named(source, only)
        if not kept.any():
            raise DataError(f"{only}: names no image; write a key a line, such as {source.key(0)!r}")
    if leave_out is not None:
        kept &= ~_named(source, leave_out)
    if not kept.any():
        files = " and ".join(str(file) for file in (only, leave_out) if file is not None)
        raise DataError(f"{files}: no image of {source.origin} is left; name fewer, or leave the file out")
    return np.flatnonzero(kept)


def _named(source: Labelled, path: Path) -> NDArray[np.bool_]:
    """[n], whether the file names each image. Keys are compared by hashes of 64 bits, to take little room."""
    asked = np.fromiter((hash(key) for _, key in read_keys(path)), np.int64)
    named = np.zeros(len(source), np.bool_)
    if not len(asked):
        return named
    wanted = np.unique(asked)
    met = np.zeros(len(wanted), np.bool_)
    keys = source.each_key()
    for start in range(0, len(source), _BLOCK):
        hashes = np.fromiter(map(hash, islice(keys, _BLOCK)), np.int64)
        places = np.searchsorted(wanted, hashes).clip(max=len(wanted) - 1)
        found = wanted[places] == hashes
        named[start : start + len(found)] = found
        met[places[found]] = True
    if not met.all():
        _refuse(source, path, set(wanted[~met].tolist()))
    return named


def _refuse(source: Labelled, path: Path, unknown: set[int]) -> None:
    number, key = next((number, key) for number, key in read_keys(path) if hash(key) in unknown)
    more = f" ({len(unknown)} such keys)" if len(unknown) > 1 else ""
    raise DataError(
        f"{path}: line {number}: {source.origin} has no image {key!r}{more}; its keys are such as "
        f"{source.key(0)!r}"
    )
