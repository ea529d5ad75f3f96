"""Some of the images of a source, with class ids of their own."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partialfc.data.sources.labelled import Labelled, Remark
from partialfc.data.sources.numbering import require_known
from partialfc.errors import LabelError


class Selected:
    """The images of `source` at the ascending indices `kept`, in that order, with their keys.

    Classes that have an image among them get ids without gaps, in the order of their old ids; the others have
    none. Their names are the source's, or the old ids where it has none. `classes`, which an earlier run had
    as `Selected(...).classes`, keeps that run's ids; a class that it does not list is a DataError.
    """

    num_classes: int
    empty_classes: int  # of those that an earlier run had

    def __init__(
        self, source: Labelled, kept: NDArray[np.int64], *, classes: Sequence[str] | None = None
    ) -> None:
        self._source = source
        self._kept = kept.astype(np.int32) if len(source) <= 1 << 31 else kept
        ids = source.class_ids()[kept]
        self._old = np.unique(ids[ids >= 0])  # ids of the source, ascending
        self._new: NDArray[np.int64] | None = None  # by place in _old; None: that place
        self._known: list[str] | None = None
        if classes is not None:
            self._known = list(classes)
            self._new = self._ids_among(self._known)
        self.num_classes = len(self._old) if classes is None else len(classes)
        self.empty_classes = self.num_classes - len(self._old)

    @property
    def origin(self) -> str:
        return self._source.origin

    @property
    def remarks(self) -> list[Remark]:
        says = f"{len(self):,} of its {len(self._source):,} images are taken"
        return [*self._source.remarks, Remark(says)]

    @property
    def least_classes(self) -> int:
        return self.num_classes

    @cached_property
    def classes(self) -> list[str]:
        return self._names() if self._known is None else self._known

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "classes"}

    def __len__(self) -> int:
        return len(self._kept)

    def read(self, index: int) -> tuple[bytes, int]:
        """The encoded image and its class id."""
        image, old = self._source.read(self._index(index))
        return image, self._id(old, index)

    def class_id(self, index: int) -> int:
        """The class id of an image, which is not decoded."""
        return self._id(self._source.class_id(self._index(index)), index)

    def class_ids(self) -> NDArray[np.signedinteger]:
        """[n], the class id of each image; -1 where a record is damaged."""
        old = self._source.class_ids()[self._kept]
        places = np.searchsorted(self._old, old).astype(np.int32)
        new = places if self._new is None else self._new[places]
        return np.where(old < 0, -1, new)

    def name(self, index: int) -> str:
        """For messages, as the source's."""
        return self._source.name(self._index(index))

    def key(self, index: int) -> str:
        """As the source's."""
        return self._source.key(self._index(index))

    def each_key(self) -> Iterator[str]:
        """The key of each image in order."""
        taken = np.zeros(len(self._source), np.bool_)
        taken[self._kept] = True
        return compress(self._source.each_key(), taken)

    def state(self, index: int) -> str:
        """As the source's."""
        return self._source.state(self._index(index))

    def _index(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} of {self.origin}: {len(self)} of its images are taken")
        return int(self._kept[index])

    def _id(self, old: int, index: int) -> int:
        place = int(np.searchsorted(self._old, old))
        if place == len(self._old) or self._old[place] != old:
            raise LabelError(
                f"label {old} at {self.name(index)}: not among the labels that were read when the images "
                "were selected; do records of a class lie together in the file?"
            )
        return place if self._new is None else int(self._new[place])

    def _names(self) -> list[str]:
        names = self._source.classes
        if names is None:
            return [str(old) for old in self._old.tolist()]
        return [names[old] if old < len(names) else str(old) for old in self._old.tolist()]

    def _ids_among(self, known: Sequence[str]) -> NDArray[np.int64]:
        ids = {name: index for index, name in enumerate(known)}
        names = self._names()
        require_known(names, ids, self.origin)
        return np.array([ids[name] for name in names], np.int64)
