"""Checks of the training data: whether it opens and decodes, its labels, how many images classes have."""

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from partialfc.data.images.codec import decode
from partialfc.data.sources.checked_images import named
from partialfc.data.sources.folder import FolderSource, counted
from partialfc.data.sources.insightface import RecordSource
from partialfc.data.sources.leftovers import leftover_kind
from partialfc.data.sources.recordio import EXACT
from partialfc.data.sources.source import Source
from partialfc.doctor.check import Check, green, red, yellow
from partialfc.errors import (
    CheckpointError,
    DataError,
    ImageError,
    LabelError,
    PartialFCError,
    RecordError,
    RecordIndexError,
)

SAMPLE = 256
NO_CLASS_IDS = "pack the images anew with one class id each, a whole number from 0 on (partialfc data pack)"


def check_source(
    path: Path, open_source: Callable[[], Source], *, class_depth: int = 1
) -> tuple[Check, Source | None]:
    """Open `path`, which is data.train; the source is None where it cannot be opened."""
    try:
        source = open_source()
    except CheckpointError as error:  # of the classes.json that the run has saved before
        return red("data", str(error), "restore that file, or choose another run.dir"), None
    except RecordIndexError as error:
        return red("data", str(error), _delete_index(path)), None
    except RecordError as error:
        return red("data", str(error), "copy the .rec again from where it came, with its .idx"), None
    except LabelError as error:
        return red("data", str(error), NO_CLASS_IDS), None
    except (PartialFCError, OSError) as error:
        return red("data", str(error), _opening_remedy(path, class_depth)), None
    says = f"{path}: {len(source):,} images of {source.num_classes:,} classes"
    return (
        judge_folder(source, says) if isinstance(source, FolderSource) else judge_names(path, says)
    ), source


def _delete_index(path: Path) -> str:
    return f"delete {path.with_suffix('.idx')}; {path.name} is then scanned instead"


def judge_names(path: Path, says: str) -> Check:
    """Whether the classes of a packed folder, by `classes.txt` beside the .rec, are leftovers."""
    listing = path.with_name("classes.txt")
    names = listing.read_text(errors="replace").splitlines() if listing.is_file() else []
    leftovers = [name for name in names if any(map(leftover_kind, name.split("/")))]
    if not leftovers:
        return green("data", says)
    return yellow(
        "data",
        f"{says}; by {listing}, {len(leftovers)} of the classes are leftovers such as {leftovers[0]!r}",
        "pack the images again into another folder (partialfc data pack, which skips them); train in another "
        "run.dir",
    )


def _opening_remedy(path: Path, class_depth: int) -> str:
    if path.is_dir():
        return (
            "put each class's images into a folder of its own below data.train, and nothing beside these "
            "folders; or set data.class_depth to the level that those folders are on"
        )
    if path.exists() and class_depth != 1:
        return "leave data.class_depth out"
    if path.suffix == ".rec" and path.exists():
        return f"correct {path.with_name('property')}, or delete it to have the classes counted"
    return "set data.train to a .rec file or a folder of class folders that this machine can read"


def judge_folder(source: FolderSource, says: str) -> Check:
    """What lies in an image folder and is not trained on, and whether its classes are on another level."""
    if source.skipped:
        says += f"; skipped: {counted(source.skipped)}"
    if source.unread:
        return yellow(
            "data",
            f"{says}; images of a kind that is not read: {counted(source.unread)}",
            "convert those to JPEG or PNG, or move them away",
        )
    if source.deeper == len(source):
        return yellow(
            "data",
            f"{says}; no image lies in a class folder itself, all in folders within one",
            f"if those within are the classes, set data.class_depth to {source.class_depth + 1}",
        )
    if source.deeper:
        says += f"; {source.deeper:,} of them in folders within a class folder"
    return green("data", says)


def judge_num_classes(asked: int | None, found: int, *, least: int, path: Path) -> Check:
    """asked: data.num_classes; found: how many classes the data says it has; least: how many labels need."""
    name = "num_classes"
    has = f"the data has {found:,} classes"
    if least > found:
        has = f"the data says {found:,} classes, and has a label {least - 1:,}"
    needed = max(found, least)
    if asked is None and found == needed:
        return green(name, f"{found:,}, as the data says")
    if asked is None:
        return red(name, has, _room(least, path))
    if asked < needed:
        remedy = f"leave it out, or set it to {found} or more" if found == needed else _room(least, path)
        return red(name, f"data.num_classes is {asked:,}, but {has}", remedy)
    if asked > needed:
        return yellow(
            name,
            f"data.num_classes is {asked:,}, {has}: the others are centres without images",
            "leave data.num_classes out, unless those classes are to come"
            if found == needed
            else f"set data.num_classes to {needed}, unless those classes are to come",
        )
    return green(name, f"{asked:,}; {has}")


def check_records(source: Source, *, channels: int, max_pixels: int, allowed: int, seconds: float) -> Check:
    """Read and decode some images for at most so many seconds: the first, the last, and others at random.

    allowed: data.max_bad_records.
    """
    drawn = np.random.default_rng(0).permutation(len(source))[:SAMPLE].tolist()
    deadline = time.perf_counter() + seconds
    read, failures = 0, list[DataError]()
    for index in dict.fromkeys([0, len(source) - 1, *drawn]):
        if time.perf_counter() > deadline:
            break
        read += 1
        try:
            decode(source.read(index)[0], channels=channels, max_pixels=max_pixels)
        except LabelError:
            continue  # judge_labels looks at all of them
        except RecordIndexError as error:
            assert isinstance(source, RecordSource)
            return red("records", str(error), _delete_index(source.path))
        except DataError as error:
            failures.append(type(error)(named(source.name(index), error)))
    return judge_records(read, failures, total=len(source), allowed=allowed)


def judge_records(read: int, failures: Sequence[DataError], *, total: int, allowed: int) -> Check:
    """read: how many of `total` images were read; failures: those that failed; allowed: max_bad_records."""
    if not failures:
        return green("records", f"{read} sampled, all decode")
    says = f"{len(failures)} of {read} sampled cannot be read: {failures[0]}"
    unreadable = [error for error in failures if not isinstance(error, ImageError | RecordError)]
    if unreadable:  # which no run skips: the file is there, but the disk or its rights are not
        says = f"{len(failures)} of {read} sampled cannot be read: {unreadable[0]}"
        return red("records", says, "make those files readable, or remove them; the run stops at the first")
    expected = math.ceil(len(failures) * total / read)
    about = "" if read == total else "about "
    if expected <= allowed:
        return yellow(
            "records",
            f"{says}; {about}{expected:,} in all will be replaced, data.max_bad_records is {allowed}",
            "replace or remove them, or leave them out for good: partialfc data pack --max-bad",
        )
    return red(
        "records",
        f"{says}; data.max_bad_records is {allowed}",
        f"replace or remove the damaged images ({about}{expected:,} in all), or set data.max_bad_records to "
        "that many",
    )


@dataclass(frozen=True, slots=True)
class Labels:
    """labels [n] of the first n images, NaN where a record cannot be read; complete: whether n is all."""

    labels: npt.NDArray[np.float64]
    complete: bool


def read_labels(source: Source, *, seconds: float) -> Labels:
    """The labels that can be read in so many seconds; no image is decoded."""
    deadline = time.perf_counter() + seconds
    labels = list[float]()
    for label in _labels(source):
        labels.append(label)
        if len(labels) % 1024 == 0 and time.perf_counter() > deadline:
            break
    return Labels(np.array(labels), len(labels) == len(source))


def _labels(source: Source) -> Iterator[float]:
    """The labels in the order of the images; of a record only the header is read."""
    if isinstance(source, FolderSource):
        yield from map(source.class_id, range(len(source)))
        return
    assert isinstance(source, RecordSource)
    yield from (_label(source, index) for index in range(len(source)))


def _label(source: RecordSource, index: int) -> float:
    try:
        header = source.header(index)
    except RecordIndexError:
        raise
    except DataError:
        return float("nan")  # check_records reports what is wrong with it
    return float(header.id2) if header.label[0] >= EXACT else header.label[0]


def judge_labels(found: Labels, source: Source, *, num_classes: int, path: Path) -> Check:
    """Labels must be whole numbers in 0..num_classes-1."""
    labels = found.labels
    bad = np.flatnonzero(~_valid(labels, num_classes))
    if len(bad):
        says = f"{len(bad):,} of {len(labels):,} are not in 0..{num_classes - 1}, the first "
        says += f"{labels[bad[0]]:g} in {source.name(int(bad[0]))}"
        return red("labels", says, _labels_remedy(labels[bad], path))
    return green("labels", f"{_seen(found)} in 0..{num_classes - 1}")


def _labels_remedy(bad: npt.NDArray[np.float64], path: Path) -> str:
    """bad: labels that are not in the range, NaN where a record cannot be read."""
    read = bad[~np.isnan(bad)]
    if not len(read):
        return "see records: those could not be read"
    if not _valid(read, sys.maxsize).all():
        return NO_CLASS_IDS
    return _room(int(read.max()) + 1, path)


def _room(least: int, path: Path) -> str:
    """How labels get room, where `least` classes are needed."""
    pack = f"partialfc data pack {path} OUT --relabel"
    return f"set data.num_classes to {least} or more, or give the classes ids without gaps: {pack}"


def judge_class_sizes(found: Labels, *, num_classes: int, path: Path) -> Check:
    """How many samples the classes have; a class of one image teaches nothing."""
    labels = found.labels[_valid(found.labels, num_classes)].astype(np.int64)
    if not len(labels):
        return yellow("class sizes", f"{_seen(found)}: none has a valid label", "fix the labels first")
    ids, sizes = np.unique(labels, return_counts=True)
    if not found.complete and len(ids) > 1:
        sizes = sizes[:-1]  # without the class in which reading stopped
    missing = num_classes - len(ids) if found.complete else 0
    single = int((sizes == 1).sum())
    says = (
        f"{_seen(found)}: {sizes.min()} to {sizes.max()} a class, median {np.median(sizes):g}; "
        f"{single:,} classes have 1, {missing:,} none"
    )
    if (single + missing) * 10 > num_classes:
        return yellow("class sizes", says, _sizes_remedy(single, missing, path))
    return green("class sizes", says)


def _sizes_remedy(single: int, missing: int, path: Path) -> str:
    if missing > single:
        return f"leave out classes without images: partialfc data pack {path} OUT --relabel"
    return "leave such classes out: they cost as much as others and teach little"


def _valid(labels: npt.NDArray[np.float64], num_classes: int) -> npt.NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        valid: npt.NDArray[np.bool_] = (labels >= 0) & (labels < num_classes) & (labels == np.floor(labels))
    return valid


def _seen(found: Labels) -> str:
    return f"{'all' if found.complete else 'the first'} {len(found.labels):,} images"
