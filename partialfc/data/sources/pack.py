"""Packing labelled images into RecordIO, so that millions of them are read from one file."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from partialfc.data.images.header import MAX_PIXELS
from partialfc.data.parallel.in_order import workers_for
from partialfc.data.parallel.progress import ShowProgress, no_progress
from partialfc.data.sources.checked_images import CheckedImages
from partialfc.data.sources.class_names import CLASS_NAMES
from partialfc.data.sources.in_class_order import InClassOrder, renumbered
from partialfc.data.sources.insightface import write_source
from partialfc.data.sources.labelled import Labelled, Source
from partialfc.data.sources.source import Place, open_source
from partialfc.errors import DataError
from partialfc.files import OF_WRITING, at_least, replacing, show_size, told

log = logging.getLogger(__name__)

_SAMPLE = 256  # images whose size is looked at, to say how much room all take
_SPARSE = 1000  # classes per image; more are a mistake, and would be as many names and records


@dataclass(frozen=True, slots=True)
class Packed:
    """What was written."""

    path: Path  # the .rec file
    images: int
    classes: int
    left_out: int = 0  # images that do not decode


def pack_source(
    path: Place | Sequence[Place],
    out_dir: str | Path,
    *,
    classes: Sequence[str] | None = None,
    class_depth: int = 1,
    root: Path | None = None,
    only: Path | None = None,
    leave_out: Path | None = None,
    relabel: bool = False,
    overwrite: bool = False,
    max_bad: int = 0,
    max_pixels: int = MAX_PIXELS,
    workers: int | None = 0,
    progress: ShowProgress = no_progress,
) -> Packed:
    """What open_source opens -> `train.rec`, `.idx`, `property`, `classes.txt` in `out_dir`.

    The encoded bytes stay as they are; each image is decoded once to check it. Up to `max_bad` that do not
    decode, or claim more than `max_pixels`, are left out with a warning each; where there are more, nothing
    is written, and an ImageError names all. `classes`, `class_depth`,
    `root`, `only` and `leave_out` are open_source's.

    `relabel` leaves out classes without images and gives the others ids without gaps, in the same order.
    `classes.txt` has the class names by id; the ids where the source has no names.
    DataError where `out_dir` has a `train.rec`, unless `overwrite`.

    `workers` processes read and decode, and one writes; what is written is the same for any number of them.
    0 or 1: this process does all; None: one a core, where there are many images. `progress` is told the name
    of the work, how many images are done, and of how many.
    """
    target = Path(out_dir) / "train.rec"
    if target.exists() and not overwrite:
        raise DataError(f"{target}: exists already; name another folder, or replace it with --overwrite")
    opened = open_source(
        path, classes=classes, class_depth=class_depth, root=root, only=only, leave_out=leave_out
    )
    source = InClassOrder(opened)
    names = _names(opened, source, relabel=relabel)
    target.parent.mkdir(parents=True, exist_ok=True)
    count = len(source)
    checked = CheckedImages(
        source,
        max_bad=max_bad,
        max_pixels=max_pixels,
        workers=workers_for(count) if workers is None else workers,
        progress=lambda done: progress("packing", done, count),
    )
    ids = list[int]()
    try:
        with closing(iter(checked)) as good:
            first = next(good, None)
            if first is None:
                raise DataError(
                    f"{opened.origin}: none of its {count} images can be used, such as {checked.bad[0]}"
                )
            size, samples = first[2], chain([first], good)
            images = write_source(
                target,
                _counted(renumbered(samples, ids) if relabel else samples, size),
                num_classes=None if relabel else source.num_classes,
                image_size=size,
            )
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


def _bytes_of(source: Source) -> int:
    """About as many as all encoded images have, by some of them."""
    sizes = []
    for index in np.unique(np.linspace(0, len(source) - 1, _SAMPLE).astype(np.int64)).tolist():
        with suppress(DataError):
            sizes.append(len(source.read(index)[0]))
    return len(source) * sum(sizes) // max(1, len(sizes))


def _names(source: Labelled, ordered: InClassOrder, *, relabel: bool) -> Sequence[str | int]:
    """A name for each class id; DataError where one does not fit `classes.txt`, or nearly all are empty."""
    if ordered.num_classes > _SPARSE * len(ordered) and not relabel:
        listed, correct = "", ""
        listing = Path(source.origin).with_name("property")
        if ordered.num_classes > ordered.largest_label + 1 and listing.exists():
            listed, correct = f", and {listing} says {ordered.num_classes} classes", f"correct {listing}, or "
        raise DataError(
            f"{source.origin}: {len(ordered)} images have labels up to {ordered.largest_label}{listed}, so "
            f"nearly all classes would be empty; {correct}give them ids without gaps: --relabel"
        )
    names = source.classes
    if names is None or len(names) != ordered.num_classes:
        return range(ordered.num_classes)
    split = next((name for name in names if "\n" in name), None)
    if split is not None:
        raise DataError(
            f"{source.origin}: the class name {split!r} has a line break, which does not fit {CLASS_NAMES}"
        )
    return names


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
