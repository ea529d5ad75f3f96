"""Packing an image folder into RecordIO, so that millions of images are read from one file."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from partialfc.data.images.header import MAX_PIXELS
from partialfc.data.sources.checked_images import CheckedImages
from partialfc.data.sources.folder import FolderSource
from partialfc.data.sources.insightface import write_source
from partialfc.errors import DataError
from partialfc.files import replacing

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Packed:
    """What was written."""

    path: Path  # the .rec file
    images: int
    classes: int
    left_out: int = 0  # images that do not decode


def pack_folder(
    folder: str | Path,
    out_dir: str | Path,
    *,
    classes: Sequence[str] | None = None,
    class_depth: int = 1,
    max_bad: int = 0,
    max_pixels: int = MAX_PIXELS,
) -> Packed:
    """`folder/class/image` -> `train.rec`, `train.idx`, `property`, `classes.txt` (names by id) in `out_dir`.

    The encoded bytes stay as they are; each image is decoded once to check it. Up to `max_bad` that do not
    decode, or claim more than `max_pixels`, are left out with a warning each; where there are more, nothing
    is written, and an ImageError names all. `classes` (which keeps the ids of an earlier run) and
    `class_depth` are FolderSource's.
    """
    source = FolderSource(folder, classes, class_depth=class_depth)
    split = next((name for name in source.classes if "\n" in name), None)
    if split is not None:
        raise DataError(f"{Path(folder) / split!r}: a class name with a line break does not fit classes.txt")
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    path = out_dir / "train.rec"
    checked = CheckedImages(source, max_bad=max_bad, max_pixels=max_pixels)
    samples = iter(checked)
    first = next(samples, None)
    if first is None:
        raise DataError(f"{folder}: none of its {len(source)} images can be used, such as {checked.bad[0]}")
    size = first[2]
    images = write_source(
        path, _counted(chain([first], samples), size), num_classes=source.num_classes, image_size=size
    )
    # A folder name that is not UTF-8 is written as the bytes that it is on the disk.
    text = "".join(f"{name}\n" for name in source.classes)
    with replacing(out_dir / "classes.txt") as beside:
        beside.write_text(text, encoding="utf-8", errors="surrogateescape")
    return Packed(path, images, source.num_classes, len(checked.bad))


def _counted(
    samples: Iterator[tuple[bytes, int, tuple[int, int]]], size: tuple[int, int]
) -> Iterator[tuple[bytes, int]]:
    """The samples without their sizes; a warning at the end says how many have another one than `size`."""
    count, other = 0, 0
    for data, label, own in samples:
        count, other = count + 1, other + (own != size)
        yield data, label
    if other:
        log.warning(
            "%d of %d images are not %dx%d, the first one's size, which `property` gives",
            other,
            count,
            *size,
        )
