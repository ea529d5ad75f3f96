"""The margin of each class: from the file that a config names, or from the sizes of the data's classes."""

import numpy as np
import numpy.typing as npt
from torch import Tensor

from partialfc.config import HeadConfig
from partialfc.data.sources.labelled import Labelled
from partialfc.data.sources.labels import out_of_range
from partialfc.errors import DataError, LabelError
from partialfc.head.class_margins import margins_of_class_sizes
from partialfc.training.builders.class_values import read_class_margins

AT_ONCE = 1 << 20  # labels, so that counting them takes little memory


def build_class_margins(
    section: HeadConfig, source: Labelled, num_classes: int
) -> npt.NDArray[np.float64] | Tensor | None:
    """[C], the same on every rank and after a resume; None where all classes have the margin's own.

    Raises ConfigError for a file that cannot be used, LabelError for a class id beyond num_classes, DataError
    where all records are damaged.
    """
    if section.class_margins is not None:
        return read_class_margins(section.class_margins, num_classes, margin=section.margin)
    if section.margins_by_size is None:
        return None
    sizes = class_sizes(source, num_classes)
    if not sizes.any():
        raise DataError(f"head.margins_by_size: no image of {source.origin} has a class id that can be read")
    return margins_of_class_sizes(sizes, **section.margins_by_size.model_dump())


def class_sizes(source: Labelled, num_classes: int) -> npt.NDArray[np.int64]:
    """[C], how many images each class has, by their labels alone; a damaged record counts for none."""
    labels = source.class_ids()
    sizes = np.zeros(num_classes, np.int64)
    for start in range(0, len(labels), AT_ONCE):
        some = labels[start : start + AT_ONCE]
        if (beyond := np.flatnonzero(some >= num_classes)).size:
            index = start + int(beyond[0])
            raise LabelError(out_of_range(int(labels[index]), source.name(index), num_classes))
        np.add.at(sizes, some[some >= 0], 1)
    return sizes
