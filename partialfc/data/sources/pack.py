"""Packing labelled images into RecordIO, so that millions of them are read from one file."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from partialfc.data.images.header import MAX_PIXELS
from partialfc.data.sources.checked_images import CheckedImages
from partialfc.data.sources.class_names import CLASS_NAMES, names_beside
from partialfc.data.sources.folder import FolderSource
from partialfc.data.sources.in_class_order import InClassOrder, renumbered
from partialfc.data.sources.insightface import RecordSource, write_source
from partialfc.data.sources.source import open_source
from partialfc.errors import DataError
from partialfc.files import OF_WRITING, at_least, replacing, show_size, told

log = logging.getLogger(__name__)

_SPARSE = 1000  # classes per image; more are a mistake, and would be as many names and records


@dataclass(frozen=True, slots=True)
class Packed:
    """What was written."""

    path: Path  # the .rec file
    images: int
    classes: int
    left_out: int = 0  # images that do not decode


def pack_source(
    path: str | Path,
    out_dir: str | Path,
    *,
    classes: Sequence[str] | None = None,
    class_depth: int = 1,
    relabel: bool = False,
    overwrite: bool = False,
    max_bad: int = 0,
    max_pixels: int = MAX_PIXELS,
) -> Packed:
    """A folder of class folders, or a `.rec` -> `train.rec`, `.idx`, `property`, `classes.txt` in `out_dir`.

    The encoded bytes stay as they are; each image is decoded once to check it. Up to `max_bad` that do not
    decode, or claim more than `max_pixels`, are left out with a warning each; where there are more, nothing
    is written, and an ImageError names all. `classes` (which keeps the ids of an earlier run) and
    `class_depth` are FolderSource's.

    `relabel` leaves out classes without images and gives the others ids without gaps, in the same order.
    `classes.txt` has the class names by id; those of a `.rec` are in a `classes.txt` beside it, else its ids.
    DataError where `out_dir` has a `train.rec`, unless `overwrite`.
    """
    target = Path(out_dir) / "train.rec"
    if target.exists() and not overwrite:
        raise DataError(f"{target}: exists already; name another folder, or replace it with --overwrite")
    source, names = _opened(path, classes, class_depth, relabel=relabel)
    target.parent.mkdir(parents=True, exist_ok=True)
    checked = CheckedImages(source, max_bad=max_bad, max_pixels=max_pixels)
    samples = iter(checked)
    first = next(samples, None)
    if first is None:
        raise DataError(f"{path}: none of its {len(source)} images can be used, such as {checked.bad[0]}")
    size = first[2]
    samples = chain([first], samples)
    ids = list[int]()
    if relabel:
        samples = renumbered(samples, ids)
    num_classes = None if relabel else source.num_classes
    try:
        images = write_source(target, _counted(samples, size), num_classes=num_classes, image_size=size)
    except OSError as error:
        if error.errno not in OF_WRITING:
            raise
        takes = show_size(at_least(_bytes_of(source), error, target))
        raise DataError(
            f"{told(error)}; the pack takes about {takes}: make room for it, or name a folder on another disk"
        ) from error
    names = [names[old] for old in ids] if relabel else names
    # A folder name that is not UTF-8 is written as the bytes that it is on the disk.
    text = "".join(f"{name}\n" for name in names)
    with replacing(target.with_name(CLASS_NAMES)) as beside:
        beside.write_text(text, encoding="utf-8", errors="surrogateescape")
    return Packed(target, images, len(names), len(checked.bad))


def _bytes_of(source: FolderSource | InClassOrder) -> int:
    """Of the encoded images."""
    if isinstance(source, InClassOrder):
        return source.path.stat().st_size
    files = (Path(source.name(index)) for index in range(len(source)))
    return sum(file.stat().st_size for file in files if file.exists())


def _opened(
    path: str | Path, classes: Sequence[str] | None, class_depth: int, *, relabel: bool
) -> tuple[FolderSource | InClassOrder, Sequence[str | int]]:
    """The images in ascending order of class id, and a name for each id."""
    source = open_source(path, classes=classes, class_depth=class_depth)
    if isinstance(source, FolderSource):
        split = next((name for name in source.classes if "\n" in name), None)
        if split is not None:
            raise DataError(
                f"{Path(path) / split!r}: a class name with a line break does not fit {CLASS_NAMES}"
            )
        return source, source.classes
    assert isinstance(source, RecordSource)
    ordered = InClassOrder(source)
    if ordered.num_classes > _SPARSE * len(ordered) and not relabel:
        listed, correct = "", ""
        if ordered.num_classes > ordered.largest_label + 1:
            listing = source.path.with_name("property")
            listed, correct = f", and {listing} says {ordered.num_classes} classes", f"correct {listing}, or "
        raise DataError(
            f"{path}: {len(ordered)} images have labels up to {ordered.largest_label}{listed}, so nearly all "
            f"classes would be empty; {correct}give them ids without gaps: --relabel"
        )
    names = names_beside(source.path)
    return ordered, names if len(names) == ordered.num_classes else range(ordered.num_classes)


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
