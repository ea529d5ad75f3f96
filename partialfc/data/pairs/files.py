"""Verification pairs: InsightFace's `.bin` files, and plain lists of one's own images."""

import csv
import os
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from partialfc.data.pairs.unpickle import PlainArray, load_plain
from partialfc.errors import PairsError

LIST_SUFFIXES = (".txt", ".csv", ".tsv")


@dataclass(frozen=True, eq=False)
class PairSet:
    """P pairs of encoded images. `images`: 2P JPEGs or PNGs, 2i and 2i+1 form pair i; `same` bool [P]."""

    images: list[bytes]
    same: np.ndarray

    def __post_init__(self) -> None:
        if self.same.dtype != np.bool_ or self.same.ndim != 1:
            raise PairsError(
                f"same has dtype {self.same.dtype} and shape {self.same.shape}: it must be bool [P], "
                "one flag a pair"
            )
        if len(self.images) != 2 * len(self.same):
            raise PairsError(
                f"{len(self.images)} images for {len(self.same)} flags: a pair has two images and one flag"
            )
        if not len(self.same):
            raise PairsError("no pairs: a verification set needs at least one")


def read_pairs(path: str | Path) -> PairSet:
    """The pairs of a `.bin` (InsightFace's layout) or of a `.txt`, `.csv` or `.tsv` list.

    `.bin`: a pickle of `(2P encoded images, P flags)`, written by Python 2 or 3; it is read without running
    anything that it holds. List: a line `path_a path_b 1` for the same identity or `path_a path_b 0` for two;
    separated by tabs or commas (as in CSV, so names may hold spaces) or else by blanks; paths relative to the
    list's folder; empty lines and lines that start with `#` are skipped.

    Raises PairsError, which names the file and, in a list, the line.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".bin", *LIST_SUFFIXES):
        raise PairsError(
            f"{path}: pairs are read from .bin (InsightFace's layout) or {', '.join(LIST_SUFFIXES)} files, "
            f"not {suffix or 'a name without a suffix'}"
        )
    data = _read_file(path, path)
    try:
        return _parse_list(path, data) if suffix in LIST_SUFFIXES else _parse_bin(data)
    except (PairsError, pickle.UnpicklingError) as error:
        raise PairsError(f"{path}: {error}") from error


def write_pairs(path: str | Path, pairs: PairSet) -> None:
    """Write InsightFace's `.bin` layout; equal pairs give equal bytes, and `path` is replaced at once."""
    path = Path(path)
    # Pickle stores an object once however often it is listed, by identity: make that go by content.
    unique: dict[bytes, bytes] = {}
    images = [unique.setdefault(image, image) for image in map(bytes, pairs.images)]
    data = pickle.dumps((images, pairs.same.tolist()), protocol=4)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _read_file(path: Path, where: object) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PairsError(f"{where}: cannot read {path}: {error.strerror}") from error


def _parse_bin(data: bytes) -> PairSet:
    match load_plain(data):
        case (list() | tuple() as images, list() | tuple() | PlainArray() as flags):
            pass
        case other:
            raise PairsError(
                f"the pickle holds {_kind(other)}: it must be a pair (list of encoded images, list of flags)"
            )
    values = flags.values.tolist() if isinstance(flags, PlainArray) else flags
    same = np.array([_flag(value, index) for index, value in enumerate(values)], dtype=np.bool_)
    return PairSet([_image(value, index) for index, value in enumerate(images)], same)


def _image(value: object, index: int) -> bytes:
    match value:
        case bytes() | bytearray():
            return bytes(value)
        case PlainArray() if value.values.dtype.itemsize == 1 and value.values.dtype != np.bool_:
            return value.values.tobytes()
        case str():  # Python 2's bytes, pickled once more by Python 3
            try:
                return value.encode("latin-1")
            except UnicodeEncodeError:
                raise PairsError(f"image {index} is text, not an encoded image") from None
        case _:
            raise PairsError(f"image {index} is {_kind(value)}: it must be an encoded image's bytes")


def _flag(value: object, index: int) -> bool:
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    shown = value if isinstance(value, int) else _kind(value)
    raise PairsError(f"flag {index} is {shown}: it must be a bool, or 0 or 1")


def _kind(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    return "a NumPy array" if isinstance(value, PlainArray) else f"of type {type(value).__name__}"


def _parse_list(path: Path, data: bytes) -> PairSet:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        bad_line = data.count(b"\n", 0, error.start) + 1
        raise PairsError(f"line {bad_line}: not UTF-8 text; save the list as UTF-8") from error
    images: list[bytes] = []
    same: list[bool] = []
    read: dict[str, bytes] = {}  # an image is usually part of several pairs
    for number, line in enumerate(map(str.strip, text.split("\n")), start=1):
        if not line or line.startswith("#"):
            continue
        first, second, flag = _fields(line, number)
        for name in (first, second):
            if name not in read:
                read[name] = _read_file(path.parent / name, f"line {number}")
            images.append(read[name])
        same.append(flag == "1")
    return PairSet(images, np.array(same, dtype=np.bool_))


def _fields(line: str, number: int) -> tuple[str, str, str]:
    for separator in ("\t", ",", None):
        match [field.strip() for field in _split(line, separator)]:
            case [first, second, "0" | "1" as flag] if first and second:
                return first, second, flag
    raise PairsError(
        f"line {number}: {line!r} must be path_a, path_b and 1 (same) or 0 (not), separated by tabs, commas "
        "or blanks"
    )


def _split(line: str, separator: str | None) -> list[str]:
    if separator is None:
        return line.split()
    try:
        return next(csv.reader([line], delimiter=separator, skipinitialspace=True, strict=True))
    except csv.Error:  # an odd quote: not this separator
        return []
