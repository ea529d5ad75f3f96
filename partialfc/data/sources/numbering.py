"""Class ids for the labels of a source that writes them as text: whole numbers, or names."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partialfc.data.sources.labels import MOST_CLASSES
from partialfc.errors import DataError, LabelError

_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?", re.ASCII)
_WHOLE = re.compile(r"\+?\d+(\.0*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Numbered:
    """ids [n], the class id of each image. classes: names by id; None where labels were ids themselves."""

    ids: NDArray[np.signedinteger]
    num_classes: int
    classes: list[str] | None


def number_labels(
    labels: Sequence[str],
    which: NDArray[np.signedinteger],
    *,
    origin: str,
    known: Sequence[str] | None = None,
) -> Numbered:
    """labels: the texts that there are, each once; which [n]: the label of each image, as a place among them.

    Where all are numbers they are the class ids, whole and not negative, and `num_classes` is one past the
    largest. Otherwise all are names, and ids follow their sorted order; or `known`, the names by id that an
    earlier run had. Raises LabelError for a number that is no class id, DataError for an unknown name.
    """
    if all(map(_NUMBER.fullmatch, labels)):
        table = np.array([_class_id(label, origin) for label in labels], np.int64)
        num_classes, classes = int(table.max()) + 1, None
    else:
        classes = sorted(labels) if known is None else list(known)
        ids = {name: index for index, name in enumerate(classes)}
        require_known(labels, ids, origin)
        table = np.array([ids[label] for label in labels], np.int64)
        num_classes = len(classes)
    small = np.int32 if num_classes <= 1 << 31 else np.int64
    return Numbered(table.astype(small)[which], num_classes, classes)


def number_named(
    ids: NDArray[np.int64], names: Sequence[str], *, origin: str, known: Sequence[str] | None = None
) -> Numbered:
    """ids [n]: class ids that have names already, which keep them; or those of `known`, by name.

    Raises LabelError for an id without a name, DataError for an unknown name.
    """
    beyond = np.flatnonzero((ids < 0) | (ids >= len(names)))
    if len(beyond):
        raise LabelError(
            f"{origin}: label {ids[beyond[0]]} of image {beyond[0]}: classes have names for "
            f"0..{len(names) - 1}, and {len(beyond)} labels are others, as those of a split without labels"
        )
    if known is None:
        return Numbered(ids.astype(np.int32), len(names), list(names))
    places = {name: index for index, name in enumerate(known)}
    used = np.unique(ids).tolist()
    require_known([names[each] for each in used], places, origin)
    table = np.zeros(len(names), np.int32)
    table[used] = [places[names[each]] for each in used]
    return Numbered(table[ids], len(known), list(known))


def require_known(names: Sequence[str], known: dict[str, int], origin: str) -> None:
    """DataError where a class is not among those that the run had before."""
    unknown = [name for name in names if name not in known]
    if unknown:
        raise DataError(
            f"{origin}: class {min(unknown)!r} is not among the {len(known)} known classes ({len(unknown)} "
            "such classes); the trained network knows only those, so leave its images out, or train anew in "
            "another run.dir"
        )


def _class_id(label: str, origin: str) -> int:
    if not _WHOLE.fullmatch(label):
        raise LabelError(
            f"{origin}: label {label}: all labels are numbers, so they are class ids, which must be whole "
            "and not negative"
        )
    found = int(label.partition(".")[0])
    if found >= MOST_CLASSES:
        raise LabelError(f"{origin}: label {label}: a class id must be below 2**53")
    return found
