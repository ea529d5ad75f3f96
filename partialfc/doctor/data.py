"""Checks of the training data: whether it opens and decodes, its labels, how many images classes have."""

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from partialfc.data.images.codec import decode
from partialfc.data.sources.folder import FolderSource
from partialfc.data.sources.insightface import RecordSource
from partialfc.data.sources.recordio import RecordReader, unpack
from partialfc.data.sources.source import Source
from partialfc.doctor.check import Check, green, red, yellow
from partialfc.errors import CheckpointError, DataError, LabelError, PartialFCError

EXACT = 1 << 24  # from this label on float32 is not exact, and the record's id2 holds the label
SAMPLE = 256


def check_source(path: Path, open_source: Callable[[], Source]) -> tuple[Check, Source | None]:
    """Open `path`, which is data.train; the source is None where it cannot be opened."""
    try:
        source = open_source()
    except CheckpointError as error:  # of the classes.json that the run has saved before
        return red("data", str(error), "restore that file, or choose another run.dir"), None
    except (PartialFCError, OSError) as error:
        remedy = "set data.train to a .rec file or a folder of class folders that this machine can read"
        return red("data", str(error), remedy), None
    return green("data", f"{path}: {len(source):,} images of {source.num_classes:,} classes"), source


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


def check_records(source: Source, *, channels: int, seconds: float) -> Check:
    """Read and decode some images for at most so many seconds: the first, the last, and others at random."""
    drawn = np.random.default_rng(0).permutation(len(source))[:SAMPLE].tolist()
    deadline = time.perf_counter() + seconds
    read, failures = 0, list[str]()
    for index in dict.fromkeys([0, len(source) - 1, *drawn]):
        if time.perf_counter() > deadline:
            break
        read += 1
        try:
            decode(source.read(index)[0], channels=channels)
        except LabelError:
            continue  # judge_labels looks at all of them
        except DataError as error:
            failures.append(f"{source.name(index)}: {error}")
    return judge_records(read, failures)


def judge_records(read: int, failures: list[str]) -> Check:
    """read: how many images were read; failures: an error for each that could not be."""
    if failures:
        return red(
            "records",
            f"{len(failures)} of {read} sampled cannot be read: {failures[0]}",
            "copy the data again, or remove the damaged images; the run would stop at the first",
        )
    return green("records", f"{read} sampled, all decode")


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
        ids = {name: label for label, name in enumerate(source.classes)}
        yield from (ids[source.name(index).rpartition("/")[0]] for index in range(len(source)))
        return
    assert isinstance(source, RecordSource)
    with RecordReader(source.path) as reader:
        start = len(reader.keys) - len(source)
        start = min(start, int(reader.keys[0] == 0 and _is_header(reader)))
        for key in itertools.islice(reader.keys.tolist(), start, start + len(source)):
            yield _label(reader, key)


def _is_header(reader: RecordReader) -> bool:
    header, image = unpack(reader.read(0))
    return header.flag == 2 and not image  # InsightFace's layout, in which images begin at record 1


def _label(reader: RecordReader, key: int) -> float:
    try:
        with reader.view(key) as view:
            header, image = unpack(view)
            image.release()
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
