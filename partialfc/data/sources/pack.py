"""Packing an image folder into RecordIO, so that millions of images are read from one file."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from partialfc.data.images.codec import decode
from partialfc.data.sources.folder import FolderSource
from partialfc.data.sources.insightface import write_source
from partialfc.errors import DataError, ImageError
from partialfc.files import replacing

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Packed:
    """What was written."""

    path: Path  # the .rec file
    images: int
    classes: int


def pack_folder(folder: str | Path, out_dir: str | Path, *, classes: Sequence[str] | None = None) -> Packed:
    """`folder/class/image` -> `train.rec`, `train.idx`, `property`, `classes.txt` (names by id) in `out_dir`.

    The encoded bytes stay as they are; each image is decoded once to check it, and a damaged one is an
    ImageError that names it. `classes` keeps the ids of an earlier run, see FolderSource.
    """
    source = FolderSource(folder, classes)
    split = next((name for name in source.classes if "\n" in name), None)
    if split is not None:
        raise DataError(f"{Path(folder) / split!r}: a class name with a line break does not fit classes.txt")
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    path = out_dir / "train.rec"
    size = _checked_size(source, 0, source.read(0)[0])
    images = write_source(path, _checked(source, size), num_classes=source.num_classes, image_size=size)
    # A folder name that is not UTF-8 is written as the bytes that it is on the disk.
    text = "".join(f"{name}\n" for name in source.classes)
    with replacing(out_dir / "classes.txt") as beside:
        beside.write_text(text, encoding="utf-8", errors="surrogateescape")
    return Packed(path, images, source.num_classes)


def _checked(source: FolderSource, size: tuple[int, int]) -> Iterator[tuple[bytes, int]]:
    other = 0
    for index in range(len(source)):
        data, label = source.read(index)
        other += _checked_size(source, index, data) != size
        yield data, label
    if other:
        log.warning(
            "%d of %d images are not %dx%d, the first one's size, which `property` gives",
            other,
            len(source),
            *size,
        )


def _checked_size(source: FolderSource, index: int, data: bytes) -> tuple[int, int]:
    """(height, width)"""
    try:
        height, width, _ = decode(data).shape
    except ImageError as error:
        raise ImageError(f"{source.path / source.name(index)}: {error}") from error
    return height, width
