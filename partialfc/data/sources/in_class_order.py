"""A source's images in ascending order of class id, and ids without gaps."""

from collections.abc import Iterator
from typing import TypeVar

import numpy as np

from partialfc.data.sources.insightface import warn_of_empty_classes
from partialfc.data.sources.labelled import Labelled
from partialfc.errors import RecordError

T = TypeVar("T")


class InClassOrder:
    """The images of a source, by class id; within a class in the order of the source.

    Damaged records come first, so that reading them says what is wrong. A warning counts the classes without
    an image, where the source's own did not. Raises LabelError for a label that is no class id.
    """

    num_classes: int
    largest_label: int

    def __init__(self, source: Labelled) -> None:
        self._source = source
        labels = np.fromiter((self._class_id(index) for index in range(len(source))), np.int64, len(source))
        self._order = np.argsort(labels, kind="stable")
        self.largest_label = int(labels.max())
        self.num_classes = max(source.num_classes, 1 + self.largest_label)
        empty = self.num_classes - len(np.unique(labels[labels >= 0]))
        if empty != source.empty_classes:
            warn_of_empty_classes(source.origin, empty, self.num_classes)

    def __len__(self) -> int:
        return len(self._source)

    def read(self, index: int) -> tuple[bytes, int]:
        """The encoded image and its class id."""
        return self._source.read(int(self._order[index]))

    def name(self, index: int) -> str:
        return self._source.name(int(self._order[index]))

    def _class_id(self, index: int) -> int:
        try:
            return self._source.class_id(index)
        except RecordError:
            return -1


def renumbered(samples: Iterator[tuple[bytes, int, T]], ids: list[int]) -> Iterator[tuple[bytes, int, T]]:
    """Samples in ascending order of class id, with ids 0, 1, ...; `ids` gets the old one of each new one."""
    for image, label, more in samples:
        if not ids or label != ids[-1]:
            ids.append(label)
        yield image, len(ids) - 1, more
