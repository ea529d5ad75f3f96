"""Checks of the training data: whether it opens and decodes, its labels, how many images classes have."""

import math
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
from partialfc.data.sources.layout import EXACT
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


def check_source(
    path: Path, open_source: Callable[[], Source], *, class_depth: int = 1
) -> tuple[Check, Source | None]:
    """Open `path`, which is data.train; the source is None where it cannot be opened."""
    try:
        source = open_source()
    except CheckpointError as error:  # of the classes.json that the run has saved before
        return red("data", str(error), "restore that file, or choose another run.dir"), None
    except RecordIndexError as error:
        index = path.with_suffix(".idx")
        return red("data", str(error), f"delete {index}; {path.name} is then scanned instead"), None
    except RecordError as error:
        return red("data", str(error), "copy the .rec again from where it came, with its .idx"), None
    except (PartialFCError, OSError) as error:
        return red("data", str(error), _opening_remedy(path, class_depth)), None
    says = f"{path}: {len(source):,} images of {source.num_classes:,} classes"
    return (judge_folder(source, says) if isinstance(source, FolderSource) else green("data", says)), source


def _opening_remedy(path: Path, class_depth: int) -> str:
    if path.is_dir():
        return (
            "put each class's images into a folder of its own below data.train, and nothing beside these "
            "folders; or set data.class_depth to the level that those folders are on"
        )
    if path.exists() and class_depth != 1:
        return "leave data.class_depth out"
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


def judge_num_classes(asked: int | None, found: int) -> Check:
    """asked: data.num_classes; found: the number of classes in the data."""
    if asked is not None and asked < found:
        return red(
            "num_classes",
            f"data.num_classes is {asked:,}, but the data has {found:,} classes",
            f"leave it out, or set it to {found} or more",
        )
    if asked is not None and asked > found:
        return yellow(
            "num_classes",
            f"data.num_classes is {asked:,}, the data has {found:,}: the others are centres without images",
            "leave data.num_classes out, unless those classes are to come",
        )
    return green("num_classes", f"{found:,}, as the data says")


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
    except DataError:
        return float("nan")  # check_records reports what is wrong with it
    return float(header.id2) if header.label[0] >= EXACT else header.label[0]


def judge_labels(found: Labels, source: Source, *, num_classes: int) -> Check:
    """Labels must be whole numbers in 0..num_classes-1."""
    labels = found.labels
    bad = np.flatnonzero(~_valid(labels, num_classes))
    if len(bad):
        return red(
            "labels",
            f"{len(bad):,} of {len(labels):,} are not in 0..{num_classes - 1}, the first "
            f"{labels[bad[0]]:g} in {source.name(int(bad[0]))}",
            "raise data.num_classes where it is set, else num_classes in `property` beside the .rec, "
            "or write the data again (partialfc data pack)",
        )
    return green("labels", f"{_seen(found)} in 0..{num_classes - 1}")


def judge_class_sizes(found: Labels, *, num_classes: int) -> Check:
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
        return yellow(
            "class sizes", says, "leave such classes out: they cost as much as others and teach little"
        )
    return green("class sizes", says)


def _valid(labels: npt.NDArray[np.float64], num_classes: int) -> npt.NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        valid: npt.NDArray[np.bool_] = (labels >= 0) & (labels < num_classes) & (labels == np.floor(labels))
    return valid


def _seen(found: Labels) -> str:
    return f"{'all' if found.complete else 'the first'} {len(found.labels):,} images"
