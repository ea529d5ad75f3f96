"""A text list of images, a line of `path label` each, as a labelled source."""

import io
from array import array
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from partialfc.data.sources.byte_files import THREADS, exists, is_url, suffix_of, whole
from partialfc.data.sources.indexed import IndexedSource
from partialfc.data.sources.keys import as_key
from partialfc.data.sources.numbering import number_labels
from partialfc.data.sources.opened_file import OpenedFile, state_of_path
from partialfc.errors import DataError

LIST_SUFFIXES = (".txt", ".tsv", ".lst", ".list")
_BOM = b"\xef\xbb\xbf"
_SAMPLE = 64  # files that are looked for at opening


def is_list(place: str | Path) -> bool:
    """Whether a path or URL has the name of a text list."""
    return suffix_of(place) in LIST_SUFFIXES


class ListSource(IndexedSource):
    """The images that a text file lists, in its order; 12 bytes of memory an image.

    A line is a path or URL and a label. A tab separates them, or else the last blank, so that a path may hold
    blanks; blank lines count for nothing. Labels are class ids or class names (numbering.py). A path is
    relative to `root`, or to the list's folder where that is None; or absolute. `classes`, which an earlier
    run had, keeps the ids of its names. The list may be behind a URL, and is then in memory itself.

    Raises DataError for a line that is none, for a path that is listed twice, and where the first file or all
    of some others do not exist. Others are looked for when they are read.
    """

    def __init__(
        self, path: str | Path, *, root: str | Path | None = None, classes: Sequence[str] | None = None
    ) -> None:
        self._file = _Fetched(path) if isinstance(path, str) and is_url(path) else _Local(Path(path))
        self.root = _folder_of(self._file.path) if root is None else root
        lines = _read_lines(self._file)
        self._starts = lines.starts
        super().__init__(str(path), number_labels(lines.labels, lines.which, origin=str(path), known=classes))
        self._require_files()

    def name(self, index: int) -> str:
        """For messages: the image's path."""
        return str(self._place(index))

    def key(self, index: int) -> str:
        """The path as the list has it."""
        return as_key(self._listed(index))

    def each_key(self) -> Iterator[str]:
        """The key of each image in order."""
        for *_, line in _lines_of(self._file):
            yield as_key(_path_in(line))

    def state(self, index: int) -> str:
        """Of the image's own file; of none behind a URL."""
        place = self._place(index)
        return state_of_path(place) if isinstance(place, Path) else ""

    def _image(self, index: int) -> bytes:
        place = self._place(index)
        try:
            return whole(place) if isinstance(place, str) else place.read_bytes()
        except OSError as error:
            raise DataError(f"{place}: cannot be read: {error.strerror} ({self._where(index)})") from error
        except DataError as error:
            raise DataError(f"{error} ({self._where(index)})") from error

    def _place(self, index: int) -> Path | str:
        """The path, or a URL as text."""
        listed = self._listed(index)
        if is_url(listed):
            return listed
        return f"{self.root}/{listed}" if is_url(self.root) else Path(self.root) / listed

    def _exists(self, index: int) -> bool:
        place = self._place(index)
        return place.exists() if isinstance(place, Path) else exists(place)

    def _listed(self, index: int) -> str:
        self.class_id(index)  # checks the index
        start = int(self._starts[index])
        line = self._file.read(start, int(self._starts[index + 1]) - start).partition(b"\n")[0]
        return _path_in(line)

    def _where(self, index: int) -> str:
        start = int(self._starts[index])
        number = next(number for number, offset, _ in _lines_of(self._file) if offset == start)
        return f"line {number} of {self.origin}"

    def _require_files(self) -> None:
        """Some of the files are there; else the list has a header, or its paths are relative to elsewhere."""
        sample = np.unique(np.linspace(0, len(self) - 1, _SAMPLE).astype(np.int64)).tolist()
        with ThreadPoolExecutor(THREADS) as pool:
            there = [*pool.map(self._exists, sample)]
        missing = [index for index, found in zip(sample, there, strict=True) if not found]
        if not missing or (missing[0] and len(missing) < len(sample)):
            return
        first = f"{self._where(missing[0])}: {self._place(missing[0])} does not exist"
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


class _Local(OpenedFile):
    """A list on this machine."""

    def open(self) -> IO[bytes]:
        return self.path.open("rb")


class _Fetched:
    """A list behind a URL, which is fetched once."""

    def __init__(self, url: str) -> None:
        self.path = url
        self._content = whole(url)

    def read(self, start: int, count: int) -> bytes:
        return self._content[start : start + count]

    def open(self) -> IO[bytes]:
        return io.BytesIO(self._content)


def _folder_of(path: Path | str) -> Path | str:
    """Of a list; of a URL what is before its last slash, without a query."""
    return path.parent if isinstance(path, Path) else path.partition("?")[0].rpartition("/")[0]


def _read_lines(file: _Local | _Fetched) -> _Lines:
    path = file.path
    starts, hashes, which = array("q"), array("q"), array("i")
    labels: dict[bytes, int] = {}
    end = 0
    for number, offset, line in _lines_of(file):
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
        _refuse_twice(file)
    return _Lines(np.frombuffer(starts, np.int64), [*map(_decoded, labels)], np.frombuffer(which, np.int32))


def _lines_of(file: _Local | _Fetched) -> Iterator[tuple[int, int, bytes]]:
    """(number, byte at which it begins, line) of each line that is not blank, but for a byte order mark."""
    offset = 0
    try:
        with file.open() as lines:
            for number, line in enumerate(lines, start=1):
                if b"\0" in line:
                    raise DataError(f"{file.path}: line {number}: holds a zero byte, so it is no UTF-8 text")
                text = line.removeprefix(_BOM) if number == 1 else line
                if not text.isspace():
                    yield number, offset + len(line) - len(text), text
                offset += len(line)
    except OSError as error:
        raise DataError(f"{file.path}: cannot be read: {error.strerror}") from error


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


def _refuse_twice(file: _Local | _Fetched) -> None:
    """DataError that names the first path that is listed twice, if one is."""
    seen: dict[bytes, int] = {}
    for number, _, line in _lines_of(file):
        listed = (_split(line) or (line, b""))[0]
        if listed in seen:
            raise DataError(
                f"{file.path}: lines {seen[listed]} and {number}: {_decoded(listed)!r} is listed twice; "
                "remove one"
            )
        seen[listed] = number


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", errors="surrogateescape")
