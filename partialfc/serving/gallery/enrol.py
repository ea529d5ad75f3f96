"""Images into a gallery, and images that are looked for in one."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np

from partialfc.data.parallel.progress import ShowProgress, no_progress
from partialfc.data.sources.keys import from_key
from partialfc.errors import DataError
from partialfc.serving.embed import Work, embedded, embedding, plan_of, write_bad
from partialfc.serving.gallery.gallery import Gallery, Match
from partialfc.serving.gallery.manifest import ROWS, Storage, forget_rows
from partialfc.serving.gallery.names import in_one_form, require_name
from partialfc.serving.gallery.segments import Name
from partialfc.serving.gallery.update import add, create
from partialfc.serving.images import Images
from partialfc.serving.model import Model
from partialfc.serving.row_file import partial_of
from partialfc.serving.rows import Rows, unit_rows

CLASSES = 1 << 12  # means that are written at once
BLOCK = 1 << 12  # rows


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
    A process that was killed is gone on with by the same call, from the images that it had embedded. The rest
    as `create`; raises what that and `embedding` raise.
    """
    _require_fitting(images, mean)
    return create(
        folder,
        network.card,
        _batches(folder, network, images, work, mean, skip_bad, progress),
        model=model,
        storage=storage,
        mean=mean,
        faiss=faiss,
        overwrite=overwrite,
    )


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
    _require_fitting(images, gallery.of_classes)
    batches = _batches(gallery.folder, network, images, work, gallery.of_classes, skip_bad, progress)
    return add(gallery.folder, batches, card=network.card)


def searched(
    gallery: Gallery,
    network: Model,
    images: Images,
    work: Work,
    k: int,
    *,
    threads: int = 1,
    skip_bad: Path | None = None,
) -> Iterator[tuple[str, list[Match]]]:
    """The key of each image, and its k best matches; raises what `embedded` raises.

    skip_bad: a file for the keys of images that cannot be decoded, which are written at the end.
    """
    bad = list[tuple[int, str]]()
    with closing(embedded(network, images, work, skip_bad=skip_bad is not None)) as batches:
        for batch in batches:
            bad += batch.bad
            found = gallery.search(batch.rows, k, threads=threads)
            yield from (
                (images.source.key(index), each) for index, each in zip(batch.kept, found, strict=True)
            )
    if skip_bad is not None:
        write_bad(skip_bad, images, bad)


def _batches(
    folder: Path,
    network: Model,
    images: Images,
    work: Work,
    mean: bool,
    skip_bad: Path | None,
    progress: ShowProgress,
) -> Iterator[tuple[Rows, list[Name]]]:
    """Rows with names, once all images were embedded, into a file that a process that is killed leaves."""
    plan = json.dumps(plan_of(network, images, work), sort_keys=True).encode()
    place = folder / f"{ROWS}{hashlib.sha256(plan).hexdigest()[:16]}.npy"
    forget_rows(folder, but=place.name)
    anew = f"delete {partial_of(place)}* to begin anew"
    leaves_out = skip_bad is not None
    with embedding(
        place,
        network,
        images,
        work,
        skip_bad=leaves_out,
        anew=anew,
        if_changed="begin-anew",
        progress=progress,
    ) as file:
        if skip_bad is not None:
            write_bad(skip_bad, images, file.journal.bad)
        left_out = {index for index, _ in file.journal.bad}
        kept = (index for index in range(len(images)) if index not in left_out)
        blocks = ((rows, list(islice(kept, len(rows)))) for rows in file.blocks(BLOCK))
        if mean:
            yield from _means(images, network.embedding_size, blocks)
        else:
            for rows, some in blocks:
                yield rows, [(_name(images, index), images.source.key(index)) for index in some]


def _means(
    images: Images, width: int, batches: Iterator[tuple[Rows, list[int]]]
) -> Iterator[tuple[Rows, list[Name]]]:
    """The direction of the mean of each class's rows, in the order of the class ids."""
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
        called = [f"the mean of {name!r}" for name in names]
        yield unit_rows(sums[some], called.__getitem__), [(name, "") for name in names]


def _name(images: Images, index: int) -> str:
    if images.classed:
        return images.class_name(index)
    return str(PurePosixPath(from_key(images.source.key(index))).with_suffix(""))


def _require_fitting(images: Images, mean: bool) -> None:
    """DataError for images without classes where means are wanted, and for a name that no gallery takes."""
    if mean and not images.classed:
        raise DataError(
            f"{images.source.origin}: its images have no classes, which --mean takes; leave it out"
        )
    known = dict[str, str]()
    each = np.unique(images.labels, return_index=True)[1].tolist() if images.classed else range(len(images))
    for index in each:
        name = _name(images, index)
        require_name(name, images.source.name(index))
        if mean and known.setdefault(in_one_form(name), name) != name:
            raise DataError(
                f"{images.source.name(index)}: its class {name!r} is another one of that name, in other "
                "characters (Unicode's NFC and NFD), and in a gallery of --mean a name stands once: put the "
                "images of both into one folder"
            )
