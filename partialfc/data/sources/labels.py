"""Class ids from labels: of one record, of all images of a source, and whether label vectors hold any."""

from collections.abc import Sequence

import numpy as np

from partialfc.data.sources.recordio import EXACT, Header
from partialfc.errors import LabelError

ONE_LABEL = "give each record its class id as the label (a folder of class folders: partialfc data pack)"
MOST_CLASSES = 1 << 53
RELABEL = "partialfc data pack SOURCE OUT --relabel"


def out_of_range(label: int, name: str, num_classes: int) -> str:
    """What is wrong with a class id that is too large, and what to do."""
    return (
        f"label {label} at {name}: num_classes is {num_classes}, so labels must be 0..{num_classes - 1}; "
        f"make room for it (data.num_classes), or close gaps between ids ({RELABEL})"
    )


def class_id(header: Header, name: str) -> int:
    """The whole number in label[0], exact; LabelError, with the record's name, where there is none."""
    label = header.label[0]
    if 0 <= label < EXACT and label.is_integer():
        return int(label)
    place = f"label {label:g} in {name}"
    if not label.is_integer():
        raise LabelError(f"{place}: a class id must be a whole number")
    if label < 0:
        raise LabelError(f"{place}: a class id must not be negative")
    if label >= MOST_CLASSES:
        raise LabelError(f"{place}: a class id must be below 2**53")
    if np.float32(header.id2) != label:
        raise LabelError(
            f"{place}: float32 cannot tell class ids apart from 2**24 on, and the header's id2 "
            f"({header.id2}) does not hold the exact one; write the file with partialfc, which does"
        )
    return header.id2


def require_identities(path: object, sample: Sequence[tuple[float, ...]]) -> None:
    """LabelError where the labels of a sample of records are vectors whose first number is no class id.

    That is so where the first number is the same in all and others differ, as in MXNet's layout for
    detection, `[header width, object width, ..., class, x, y, x, y, ...]`; and where every number is 0 or 1,
    as for attributes and one-hot vectors. Sound vectors are `[class id, ...]`, of which only the id is read.
    """
    if len(sample) < 2 or min(map(len, sample)) < 2:
        return
    first = {label[0] for label in sample}
    rest = {label[1:] for label in sample}
    shown = ", ".join(f"{value:g}" for value in sample[0][:8]) + (", ..." if len(sample[0]) > 8 else "")
    if len(first) == 1 and len(rest) > 1:
        kind = "boxes for detection" if all(map(_is_detection, sample)) else "something else than class ids"
        raise LabelError(
            f"{path}: labels are vectors such as [{shown}], all with {sample[0][0]:g} first, so they hold "
            f"{kind}; {ONE_LABEL}"
        )
    if len(sample[0]) > 2 and set().union(*rest) == {0.0, 1.0} and first <= {0.0, 1.0}:
        raise LabelError(
            f"{path}: labels are vectors of 0 and 1 such as [{shown}], so they hold attributes or one-hot "
            f"vectors; {ONE_LABEL}"
        )


def _is_detection(label: tuple[float, ...]) -> bool:
    """MXNet's rule: a header of label[0] numbers, then objects of label[1] each, at least 5."""
    if len(label) < 7 or not (label[0].is_integer() and label[1].is_integer()):
        return False
    header, width = int(label[0]), int(label[1])
    return header >= 2 and width >= 5 and len(label) > header and (len(label) - header) % width == 0
