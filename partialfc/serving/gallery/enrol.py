"""Images into a gallery, and images that are looked for in one."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath

import numpy as np

from partialfc.data.sources.keys import as_key, from_key
from partialfc.errors import DataError
from partialfc.serving.embed import Work, embedded
from partialfc.serving.gallery.gallery import Gallery, Match
from partialfc.serving.gallery.manifest import Storage
from partialfc.serving.gallery.names import require_name
from partialfc.serving.gallery.segments import Name
from partialfc.serving.gallery.update import add, create
from partialfc.serving.images import Images
from partialfc.serving.model import Model
from partialfc.serving.row_file import write_lines
from partialfc.serving.rows import Rows, unit_rows

ShowProgress = Callable[[str, int, int], None]
CLASSES = 1 << 12  # means that are written at once


def no_progress(stage: str, done: int, total: int) -> None:
    """Shows nothing."""


def build_gallery(
    folder: Path,
    network: Model,
    images: Images,
    work: Work,
    *,
    model: Path,
    mean: bool = False,
    storage: Storage = "float32",
    faiss: str | None = None,
    overwrite: bool = False,
    skip_bad: Path | None = None,
    progress: ShowProgress = no_progress,
) -> int:
    """Embed images into a new gallery -> how many rows it has. model: where the network lies.

    A row has the name of the image's class, or of its file, without suffix, where there are no classes. mean:
    one row for each class. skip_bad: a file for the keys of images that cannot be decoded, which have no row.
    The rest as `create`; raises what that and `embedded` raise.
    """
    _require_names(images)
    bad: list[tuple[int, str]] | None = None if skip_bad is None else []
    rows = create(
        folder,
        network.card,
        _batches(network, images, work, mean, bad, progress),
        model=model,
        storage=storage,
        mean=mean,
        faiss=faiss,
        overwrite=overwrite,
    )
    _write_bad(skip_bad, images, bad)
    return rows


def add_to_gallery(
    gallery: Gallery,
    network: Model,
    images: Images,
    work: Work,
    *,
    skip_bad: Path | None = None,
    progress: ShowProgress = no_progress,
) -> int:
    """Embed images into a gallery -> how many rows came. As `build_gallery`, and raises what `add` raises."""
    _require_names(images)
    bad: list[tuple[int, str]] | None = None if skip_bad is None else []
    batches = _batches(network, images, work, gallery.of_classes, bad, progress)
    added = add(gallery.folder, batches, card=network.card)
    _write_bad(skip_bad, images, bad)
    return added


def searched(
    gallery: Gallery, network: Model, images: Images, work: Work, k: int, *, threads: int = 1
) -> Iterator[tuple[str, list[Match]]]:
    """The key of each image, and its k best matches; raises what `embedded` raises."""
    with closing(embedded(network, images, work)) as batches:
        for batch in batches:
            found = gallery.search(batch.rows, k, threads=threads)
            yield from (
                (images.source.key(index), each) for index, each in zip(batch.kept, found, strict=True)
            )


def _batches(
    network: Model,
    images: Images,
    work: Work,
    mean: bool,
    bad: list[tuple[int, str]] | None,
    progress: ShowProgress,
) -> Iterator[tuple[Rows, list[Name]]]:
    """Rows with names; what is wrong with images that cannot be decoded goes to `bad`, if that is a list."""

    def each() -> Iterator[tuple[Rows, list[int]]]:
        with closing(embedded(network, images, work, skip_bad=bad is not None)) as batches:
            for batch in batches:
                if bad is not None:
                    bad.extend(batch.bad)
                yield batch.rows, batch.kept
                progress("embedding", batch.stop, len(images))

    if mean:
        yield from _means(images, network.embedding_size, each())
    else:
        for rows, kept in each():
            yield rows, [(_name(images, index), images.source.key(index)) for index in kept]


def _means(
    images: Images, width: int, batches: Iterator[tuple[Rows, list[int]]]
) -> Iterator[tuple[Rows, list[Name]]]:
    """The direction of the mean of each class's rows, in the order of the class ids."""
    if not images.classed:
        raise DataError(
            f"{images.source.origin}: its images have no classes, which --mean takes; leave it out"
        )
    sums = np.zeros((images.source.num_classes, width), np.float32)
    counts = np.zeros(images.source.num_classes, np.int64)
    first = np.full(images.source.num_classes, -1, np.int64)
    for rows, kept in batches:
        labels = images.labels[kept]
        np.add.at(sums, labels, rows)
        np.add.at(counts, labels, 1)
        first[labels[::-1]] = np.where(first[labels[::-1]] < 0, kept[::-1], first[labels[::-1]])
    there = np.flatnonzero(counts)
    for start in range(0, len(there), CLASSES):
        some = there[start : start + CLASSES]
        names = [_name(images, int(first[label])) for label in some]
        means = unit_rows(sums[some], lambda index, names=names: f"the mean of {names[index]!r}")  # type: ignore[misc]
        yield means, [(name, "") for name in names]


def _name(images: Images, index: int) -> str:
    if images.classed:
        return images.class_name(index)
    return str(PurePosixPath(from_key(images.source.key(index))).with_suffix(""))


def _write_bad(path: Path | None, images: Images, bad: list[tuple[int, str]] | None) -> None:
    if path is not None:
        write_lines(path, ((images.source.key(index), as_key(why)) for index, why in bad or ()))


def _require_names(images: Images) -> None:
    """DataError for a class or a file whose name the gallery does not take, before any image is embedded."""
    each = np.unique(images.labels, return_index=True)[1].tolist() if images.classed else range(len(images))
    for index in each:
        require_name(_name(images, index), images.source.name(index))
