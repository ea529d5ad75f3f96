"""A text list of images, a line of `path label` each, as a labelled source."""

from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from partialfc.data.sources.indexed import IndexedSource
from partialfc.data.sources.keys import as_key
from partialfc.data.sources.numbering import number_labels
from partialfc.data.sources.opened_file import OpenedFile
from partialfc.errors import DataError

LIST_SUFFIXES = (".txt", ".tsv", ".lst", ".list")
_BOM = b"\xef\xbb\xbf"
_SAMPLE = 64  # files that are looked for at opening


class ListSource(IndexedSource):
    """The images that a text file lists, in its order; 12 bytes of memory an image.

    A line is a path and a label. A tab separates them, or else the last blank, so that a path may hold
    blanks; blank lines count for nothing. Labels are class ids or class names (numbering.py). A path is
    relative to `root`, or to the list's folder where that is None; or absolute. `classes`, which an earlier
    run had, keeps the ids of its names.

    Raises DataError for a line that is none, for a path that is listed twice, and where the first file or all
    of some others do not exist. Others are looked for when they are read.
    """

    def __init__(
        self, path: str | Path, *, root: str | Path | None = None, classes: Sequence[str] | None = None
    ) -> None:
        self.path = Path(path)
        self.root = self.path.parent if root is None else Path(root)
        self._file = OpenedFile(self.path)
        lines = _read_lines(self.path)
        self._starts = lines.starts
        super().__init__(str(path), number_labels(lines.labels, lines.which, origin=str(path), known=classes))
        self._require_files()

    def name(self, index: int) -> str:
        """For messages: the image's path."""
        return str(self._path(index))

    def key(self, index: int) -> str:
        """The path as the list has it."""
        return as_key(self._listed(index))

    def each_key(self) -> Iterator[str]:
        """The key of each image in order."""
        for *_, line in _lines_of(self.path):
            yield as_key(_path_in(line))

    def _image(self, index: int) -> bytes:
        path = self._path(index)
        try:
            return path.read_bytes()
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror} ({self._where(index)})") from error

    def _path(self, index: int) -> Path:
        return self.root / self._listed(index)

    def _listed(self, index: int) -> str:
        self.class_id(index)  # checks the index
        start = int(self._starts[index])
        line = self._file.read(start, int(self._starts[index + 1]) - start).partition(b"\n")[0]
        return _path_in(line)

    def _where(self, index: int) -> str:
        start = int(self._starts[index])
        number = next(number for number, offset, _ in _lines_of(self.path) if offset == start)
        return f"line {number} of {self.path}"

    def _require_files(self) -> None:
        """Some of the files are there; else the list has a header, or its paths are relative to elsewhere."""
        sample = np.unique(np.linspace(0, len(self) - 1, _SAMPLE).astype(np.int64)).tolist()
        missing = [index for index in sample if not self._path(index).exists()]
        if not missing or (missing[0] and len(missing) < len(sample)):
            return
        first = f"{self._where(missing[0])}: {self._path(missing[0])} does not exist"
        if len(missing) == len(sample):
            raise DataError(
                f"{first}, nor do others; paths are relative to {self.root}: name another folder (data.root)"
            )
        raise DataError(f"{first}; remove the line, if it is a header or the image is gone")


class _Lines(NamedTuple):
    """starts [n + 1]: the byte at which each line begins, and the file's end. which [n]: places in labels."""

    starts: NDArray[np.int64]
    labels: list[str]
    which: NDArray[np.int32]


def _read_lines(path: Path) -> _Lines:
    starts, hashes, which = array("q"), array("q"), array("i")
    labels: dict[bytes, int] = {}
    end = 0
    for number, offset, line in _lines_of(path):
        parts = _split(line)
        if parts is None:
            raise DataError(
                f"{path}: line {number}: {_decoded(line.strip()[:80])!r} is not `path label`, with a tab "
                "between them or else a blank"
            )
        starts.append(offset)
        hashes.append(hash(parts[0]))
        which.append(labels.setdefault(parts[1], len(labels)))
        end = offset + len(line)
    if not starts:
        raise DataError(f"{path}: lists no image; write `path label` on each line")
    starts.append(end)
    if len(np.unique(np.frombuffer(hashes, np.int64))) < len(hashes):
        _refuse_twice(path)
    return _Lines(np.frombuffer(starts, np.int64), [*map(_decoded, labels)], np.frombuffer(which, np.int32))


def _lines_of(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """(number, byte at which it begins, line) of each line that is not blank, but for a byte order mark."""
    offset = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if b"\0" in line:
                    raise DataError(f"{path}: line {number}: holds a zero byte, so it is no UTF-8 text")
                text = line.removeprefix(_BOM) if number == 1 else line
                if not text.isspace():
                    yield number, offset + len(line) - len(text), text
                offset += len(line)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def _split(line: bytes) -> tuple[bytes, bytes] | None:
    """The path and the label; None where there are not these two."""
    line = line.rstrip(b"\r\n")
    listed, tab, label = line.partition(b"\t")
    if not tab:
        listed, _, label = line.rstrip(b" ").rpartition(b" ")
        listed = listed.rstrip(b" ")
    label = label.strip(b" ")
    return (listed, label) if listed and label and b"\t" not in label else None


def _path_in(line: bytes) -> str:
    parts = _split(line)
    assert parts is not None, "the file is what it was when all its lines were split"
    return _decoded(parts[0])


def _refuse_twice(path: Path) -> None:
    """DataError that names the first path that is listed twice, if one is."""
    seen: dict[bytes, int] = {}
    for number, _, line in _lines_of(path):
        listed = (_split(line) or (line, b""))[0]
        if listed in seen:
            raise DataError(
                f"{path}: lines {seen[listed]} and {number}: {_decoded(listed)!r} is listed twice; remove one"
            )
        seen[listed] = number


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", errors="surrogateescape")
