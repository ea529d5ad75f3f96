"""What sources have in common that keep the class id of every image in memory."""

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from partialfc.data.sources.insightface import warn_of_empty_classes
from partialfc.data.sources.labelled import Remark
from partialfc.data.sources.numbering import Numbered

log = logging.getLogger(__name__)


class IndexedSource(ABC):
    """A labelled source, but for reading an image, naming it, and its key."""

    num_classes: int
    least_classes: int
    empty_classes: int
    classes: list[str] | None

    def __init__(self, origin: str, numbered: Numbered) -> None:
        self.origin = origin
        self.num_classes = self.least_classes = numbered.num_classes
        self.classes = numbered.classes
        self._ids = numbered.ids
        self.empty_classes = self.num_classes - len(np.unique(self._ids))
        warn_of_empty_classes(origin, self.empty_classes, self.num_classes)

    @property
    def remarks(self) -> list[Remark]:
        return []

    def __len__(self) -> int:
        return len(self._ids)

    def read(self, index: int) -> tuple[bytes, int]:
        """The encoded image and its class id."""
        label = self.class_id(index)
        return self._image(index), label

    def class_id(self, index: int) -> int:
        """The class id of an image, which is not read."""
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} of {self.origin}: it has {len(self)} images")
        return int(self._ids[index])

    def class_ids(self) -> NDArray[np.signedinteger]:
        """[n], the class id of each image; not to be changed."""
        return self._ids

    def each_key(self) -> Iterator[str]:
        """The key of each image in order."""
        return map(self.key, range(len(self)))

    @abstractmethod
    def _image(self, index: int) -> bytes:
        """The encoded image of an index that was checked; DataError where it cannot be read."""

    @abstractmethod
    def name(self, index: int) -> str:
        """For messages."""

    @abstractmethod
    def key(self, index: int) -> str:
        """The image's key."""


def distinct_names(names: Sequence[str]) -> list[str]:
    """The names of files without the folders that all are in."""
    if len(names) == 1:
        return [names[0].rpartition("/")[2]]
    folders = [name.split("/")[:-1] for name in names]
    shared = len(os.path.commonprefix(folders))  # noqa: RUF071 - of lists, so part by part
    return ["/".join(name.split("/")[shared:]) for name in names]


def narrow(numbers: NDArray[np.int64]) -> NDArray[np.signedinteger]:
    """In 4 bytes each, where all fit."""
    return numbers.astype(np.int32) if numbers.max() < 1 << 31 else numbers
