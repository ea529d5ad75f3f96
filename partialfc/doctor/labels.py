"""Checks of the training data's labels: how many classes they need, and how many images classes have."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from partialfc.data.sources.labelled import Labelled
from partialfc.doctor.check import Check, green, red, yellow
from partialfc.errors import DataError, LabelError, RecordIndexError

NO_CLASS_IDS = "pack the images anew with one class id each, a whole number from 0 on (partialfc data pack)"


def judge_num_classes(asked: int | None, found: int, *, least: int, data: Sequence[Path | str]) -> Check:
    """asked: data.num_classes; found: how many classes the data says it has; least: how many labels need."""
    name = "num_classes"
    has = f"the data has {found:,} classes"
    if least > found:
        has = f"the data says {found:,} classes, and has a label {least - 1:,}"
    needed = max(found, least)
    if asked is None and found == needed:
        return green(name, f"{found:,}, as the data says")
    if asked is None:
        return red(name, has, _room(least, data))
    if asked < needed:
        remedy = f"leave it out, or set it to {found} or more" if found == needed else _room(least, data)
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


@dataclass(frozen=True, slots=True)
class Labels:
    """labels [n] of the first n images; complete: whether n is all.

    A label is NaN where a record cannot be read, or its label is no class id. refused: why the first such
    label is none.
    """

    labels: npt.NDArray[np.float64]
    complete: bool
    refused: LabelError | None = None


def read_labels(source: Labelled, *, seconds: float) -> Labels:
    """The labels that can be read in so many seconds; no image is decoded."""
    deadline = time.perf_counter() + seconds
    labels = list[float]()
    refused: LabelError | None = None
    for index in range(len(source)):
        label = _label(source, index)
        if isinstance(label, LabelError):
            refused = refused or label
        labels.append(float("nan") if isinstance(label, LabelError) else label)
        if len(labels) % 1024 == 0 and time.perf_counter() > deadline:
            break
    return Labels(np.array(labels), len(labels) == len(source), refused)


def _label(source: Labelled, index: int) -> float | LabelError:
    """What training would take for the class id, or its error where it takes none; no image is decoded."""
    try:
        return source.class_id(index)
    except RecordIndexError:
        raise
    except LabelError as error:
        return error
    except DataError:
        return float("nan")  # check_records reports what is wrong with it


def judge_labels(found: Labels, source: Labelled, *, num_classes: int, data: Sequence[Path | str]) -> Check:
    """Labels must be whole numbers in 0..num_classes-1."""
    labels = found.labels
    bad = np.flatnonzero(~_valid(labels, num_classes))
    if len(bad):
        says = f"{len(bad):,} of {len(labels):,} are not in 0..{num_classes - 1}"
        if found.refused is not None:
            return red("labels", f"{says}: {found.refused}", NO_CLASS_IDS)
        says += f", the first {labels[bad[0]]:g} in {source.name(int(bad[0]))}"
        return red("labels", says, _labels_remedy(labels[bad], data))
    return green("labels", f"{seen(found)} in 0..{num_classes - 1}")


def _labels_remedy(bad: npt.NDArray[np.float64], data: Sequence[Path | str]) -> str:
    """bad: labels that are not in the range, NaN where a record cannot be read."""
    read = bad[~np.isnan(bad)]
    if not len(read):
        return "see records: those could not be read"
    return _room(int(read.max()) + 1, data)


def pack_anew(data: Sequence[Path | str]) -> str:
    """The command that gives the classes of data.train ids without gaps."""
    return f"partialfc data pack {' '.join(map(str, data))} OUT --relabel"


def _room(least: int, data: Sequence[Path | str]) -> str:
    """How labels get room, where `least` classes are needed."""
    return f"set data.num_classes to {least} or more, or give the classes ids without gaps: {pack_anew(data)}"


def judge_class_sizes(found: Labels, *, num_classes: int, data: Sequence[Path | str]) -> Check:
    """How many samples the classes have; a class of one image teaches nothing."""
    sizes, ids = class_sizes(found, num_classes)
    if not ids:
        return yellow("class sizes", f"{seen(found)}: none has a valid label", "fix the labels first")
    missing = num_classes - ids if found.complete else 0
    single = int((sizes == 1).sum())
    says = (
        f"{seen(found)}: {sizes.min()} to {sizes.max()} a class, median {np.median(sizes):g}; "
        f"{single:,} classes have 1, {missing:,} none"
    )
    if (single + missing) * 10 > num_classes:
        return yellow("class sizes", says, _sizes_remedy(single, missing, data))
    return green("class sizes", says)


def class_sizes(found: Labels, num_classes: int) -> tuple[npt.NDArray[np.int64], int]:
    """How many images each class has that has any [n], and how many such classes there are.

    Where not all labels were read, the class in which reading stopped is left out of the first.
    """
    labels = found.labels[_valid(found.labels, num_classes)].astype(np.int64)
    ids, sizes = np.unique(labels, return_counts=True)
    if not found.complete and len(ids) > 1:
        sizes = sizes[:-1]
    return sizes, len(ids)


def _sizes_remedy(single: int, missing: int, data: Sequence[Path | str]) -> str:
    if missing > single:
        return f"leave out classes without images: {pack_anew(data)}"
    return "leave such classes out: they cost as much as others and teach little"


def _valid(labels: npt.NDArray[np.float64], num_classes: int) -> npt.NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        valid: npt.NDArray[np.bool_] = (labels >= 0) & (labels < num_classes) & (labels == np.floor(labels))
    return valid


def seen(found: Labels) -> str:
    """Which images' labels were read, for people."""
    return f"{'all' if found.complete else 'the first'} {len(found.labels):,} images"
