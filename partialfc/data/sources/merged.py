"""Several sources one after the other, with classes in common."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np
from numpy.typing import NDArray

from partialfc.data.sources.keys import as_key
from partialfc.data.sources.labelled import Labelled, Remark
from partialfc.data.sources.labels import out_of_range
from partialfc.data.sources.numbering import require_known
from partialfc.errors import DataError, LabelError

log = logging.getLogger(__name__)


class Merged:
    """The images of `sources`, in their order.

    Where all have class names, classes of the same name are one, and ids follow the sorted names; or
    `classes`, the names by id that an earlier run had. Where none has names, no class is another source's:
    the ids of each source follow those of the one before. A DataError where only some have names.

    How many are in several sources is logged. A key has the last part of its source's path before it, as in
    "faces/cats/3.jpg"; the second source of such a name is "faces#2".
    """

    def __init__(self, sources: Sequence[Labelled], *, classes: Sequence[str] | None = None) -> None:
        self._sources = list(sources)
        self._starts = np.cumsum([0, *map(len, sources)])
        self._prefixes = _prefixes([source.origin for source in sources])
        self.origin = ", ".join(source.origin for source in sources)
        self.classes = _merged_names(sources, classes)
        self._tables = _tables(sources, self.classes)
        if self.classes is None:
            self.num_classes = self.least_classes = 1 + max(int(table.max()) for table in self._tables)
            self.empty_classes = sum(source.empty_classes for source in sources)
        else:
            self.num_classes = self.least_classes = len(self.classes)
            self.empty_classes = len(self.classes) - len(np.unique(np.concatenate(self._tables)))

        self._merging = _merging(sources, self.num_classes)
        log.info("%s: %s", self.origin, self._merging)

    @property
    def remarks(self) -> list[Remark]:
        return [Remark(self._merging)] + [
            Remark(f"{source.origin}: {remark.says}", remark.remedy)
            for source in self._sources
            for remark in source.remarks
        ]

    def __len__(self) -> int:
        return int(self._starts[-1])

    def read(self, index: int) -> tuple[bytes, int]:
        """The encoded image and its class id."""
        which, inner = self._place(index)
        image, label = self._sources[which].read(inner)
        return image, self._id(which, inner, label)

    def class_id(self, index: int) -> int:
        """The class id of an image, which is not decoded."""
        which, inner = self._place(index)
        return self._id(which, inner, self._sources[which].class_id(inner))

    def class_ids(self) -> NDArray[np.signedinteger]:
        """[n], the class id of each image; -1 where a record is damaged."""
        found = []
        for which, (source, table) in enumerate(zip(self._sources, self._tables, strict=True)):
            old = source.class_ids()
            beyond = np.flatnonzero(old >= len(table))
            if len(beyond):
                self._id(which, int(beyond[0]), int(old[beyond[0]]))
            found.append(np.where(old < 0, np.array(-1, table.dtype), table[old]))
        return np.concatenate(found)

    def name(self, index: int) -> str:
        """For messages, as that of its source."""
        which, inner = self._place(index)
        return self._sources[which].name(inner)

    def key(self, index: int) -> str:
        """That of its source, behind the name of the source."""
        which, inner = self._place(index)
        return self._prefixes[which] + self._sources[which].key(inner)

    def each_key(self) -> Iterator[str]:
        """The key of each image in order."""
        for prefix, source in zip(self._prefixes, self._sources, strict=True):
            yield from (prefix + key for key in source.each_key())

    def state(self, index: int) -> str:
        """As that of its source."""
        which, inner = self._place(index)
        return self._sources[which].state(inner)

    def _place(self, index: int) -> tuple[int, int]:
        """Which source an image is of, and its index there."""
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} of {self.origin}: they have {len(self)} images")
        which = int(np.searchsorted(self._starts, index, side="right")) - 1
        return which, index - int(self._starts[which])

    def _id(self, which: int, index: int, label: int) -> int:
        """The merged class id for a source's own."""
        table, source = self._tables[which], self._sources[which]
        if not 0 <= label < len(table):
            raise LabelError(out_of_range(label, source.name(index), len(table)))
        return int(table[label])


def _merging(sources: Sequence[Labelled], num_classes: int) -> str:
    """How many classes became one, in words."""
    own = Counter(name for source in sources for name in {*(source.classes or ())})
    if not own:
        return f"{len(sources)} sources whose classes have no names, so none is another source's"
    several = sum(count > 1 for count in own.values())
    return f"{len(sources)} sources, and {several:,} of {num_classes:,} classes are in several of them"


def _merged_names(sources: Sequence[Labelled], known: Sequence[str] | None) -> list[str] | None:
    named = [source for source in sources if source.classes is not None]
    if not named:
        return None
    if len(named) < len(sources):
        without = next(source for source in sources if source.classes is None)
        raise DataError(
            f"{without.origin}: has no class names, but {named[0].origin} has, so nobody knows which of "
            "their classes are the same; put a classes.txt beside a .rec, with the name of each class on a "
            "line, or write names as labels"
        )
    names = sorted({name for source in named for name in source.classes or ()})
    if known is None:
        return names
    require_known(names, {name: index for index, name in enumerate(known)}, named[0].origin)
    return list(known)


def _tables(sources: Sequence[Labelled], classes: Sequence[str] | None) -> list[NDArray[np.signedinteger]]:
    """Of each source, the merged class id by its own."""
    ids = {} if classes is None else {name: index for index, name in enumerate(classes)}
    tables: list[NDArray[np.signedinteger]] = []
    before = 0
    for source in sources:
        if classes is None:
            own = max(source.num_classes, source.least_classes)
            tables.append(np.arange(before, before + own))
            before += own
        else:
            tables.append(np.array([ids[name] for name in source.classes or ()], np.int32))
    return tables


def _prefixes(origins: Sequence[str]) -> list[str]:
    """A different one for each source, as `faces/`."""
    names = [as_key(origin.rstrip("/").rpartition("/")[2]) for origin in origins]
    prefixes: list[str] = []
    for name in names:
        tried = (name if number == 1 else f"{name}#{number}" for number in count(1))
        prefixes.append(next(f"{each}/" for each in tried if f"{each}/" not in prefixes))
    return prefixes
