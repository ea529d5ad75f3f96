"""Lists of image files: a line `path_a path_b 1` for the same identity, or `path_a path_b 0` for two."""

import csv
from pathlib import Path

from partialfc.errors import PairsError


def parse_list(data: bytes, folder: Path) -> tuple[list[bytes], list[bool], list[Path]]:
    """A list's content -> 2P encoded images, read from `folder`, P flags: True for the same identity, and the
    2P folders of the images.

    Raises PairsError, which names the line.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        bad_line = data.count(b"\n", 0, error.start) + 1
        raise PairsError(f"line {bad_line}: not UTF-8 text; save the list as UTF-8") from error
    images: list[bytes] = []
    same: list[bool] = []
    folders: list[Path] = []
    read: dict[str, bytes] = {}  # an image is usually part of several pairs
    for number, line in enumerate(map(str.strip, text.split("\n")), start=1):
        if not line or line.startswith("#"):
            continue
        first, second, flag = _fields(line, number)
        for name in (first, second):
            if name not in read:
                read[name] = _read(folder / name, number)
            images.append(read[name])
            folders.append(Path(name).parent)
        same.append(flag == "1")
    return images, same, folders


def _read(path: Path, number: int) -> bytes:
    """An image's bytes. A pipe or a device, of which a list may name one too, might be read for ever."""
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise PairsError(f"line {number}: {path} is not a file")
        return path.read_bytes()
    except OSError as error:
        raise PairsError(f"line {number}: cannot read {path}: {error.strerror}") from error
    except ValueError as error:  # a name that no file can have
        raise PairsError(f"line {number}: cannot read {str(path)!r}: {error}") from error


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
    except csv.Error:  # a quote without its other half: not this separator
        return []
