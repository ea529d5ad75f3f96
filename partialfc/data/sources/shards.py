"""Tar shards in WebDataset's layout as a labelled source, read at random places."""

import os
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from partialfc.data.sources.byte_files import THREADS, ByteFiles, is_url
from partialfc.data.sources.indexed import IndexedSource, distinct_names, narrow
from partialfc.data.sources.keys import as_key
from partialfc.data.sources.labelled import Remark
from partialfc.data.sources.numbering import Numbered, number_labels
from partialfc.data.sources.tar_index import ShardIndex, shard_index
from partialfc.errors import DataError, ImageError


class ShardSource(IndexedSource):
    """The images of tar shards, paths or URLs, shard after shard, in the order of each.

    Every image is read by its bytes, so the order is random over all shards, as of any other source. Where
    images lie is read once from each shard, and kept (tar_index.py). In memory some 20 bytes an image, and
    its name. Labels are class ids or class names (numbering.py). `origin`: what stands for all in messages.

    Raises DataError for a shard that cannot be read, is damaged, or is not in the layout.
    """

    def __init__(self, names: Sequence[str], *, origin: str, classes: Sequence[str] | None = None) -> None:
        for name in names:
            if name.endswith((".gz", ".tgz", ".bz2", ".xz", ".zst")):
                raise DataError(
                    f"{name}: is compressed, so no image can be read by itself; unpack it (gunzip)"
                )
        indices = _indices(names)
        self._files = ByteFiles(names, [index.state for index in indices])
        self._prefixes = distinct_names(names)
        self._starts = np.cumsum([0, *(len(index.offsets) for index in indices)])
        self._offsets = np.concatenate([index.offsets for index in indices])
        self._sizes = narrow(np.concatenate([index.sizes for index in indices]))
        self._names = b"".join(index.names for index in indices)
        before = np.cumsum([0, *(len(index.names) for index in indices)])
        ends = [index.ends + start for index, start in zip(indices, before.tolist(), strict=False)]
        self._ends = narrow(np.concatenate(ends))
        self._skipped = sum(index.skipped for index in indices)
        super().__init__(origin, _numbered(indices, origin, classes))

    @property
    def remarks(self) -> list[Remark]:
        return [Remark(f"{self._skipped:,} samples have no image")] if self._skipped else []

    def name(self, index: int) -> str:
        """For messages: the shard, and the image's name in it."""
        shard = self._shard(index)
        return f"{self._files.names[shard]} {self._member(index)}"

    def key(self, index: int) -> str:
        """The shard's name and the image's in it."""
        return as_key(f"{self._prefixes[self._shard(index)]}/{self._member(index)}")

    def each_key(self) -> Iterator[str]:
        """The key of each image in order."""
        start = 0
        for shard, prefix in enumerate(self._prefixes):
            for index in range(int(self._starts[shard]), int(self._starts[shard + 1])):
                end = int(self._ends[index])
                yield as_key(f"{prefix}/{self._names[start:end].decode('utf-8', errors='surrogateescape')}")
                start = end

    def state(self, index: int) -> str:
        """Of the shard."""
        return self._files.state(self._shard(index))

    def _image(self, index: int) -> bytes:
        shard = self._shard(index)
        data = self._files.read(shard, int(self._offsets[index]), int(self._sizes[index]))
        if not data:
            raise ImageError(f"{self.name(index)}: the image is empty, 0 bytes")
        return data

    def _shard(self, index: int) -> int:
        self.class_id(index)  # checks the index
        return int(np.searchsorted(self._starts, index, side="right")) - 1

    def _member(self, index: int) -> str:
        start = int(self._ends[index - 1]) if index else 0
        return self._names[start : int(self._ends[index])].decode("utf-8", errors="surrogateescape")


def _indices(names: Sequence[str]) -> list[ShardIndex]:
    """The index of each shard. Processes that start together take shards in different orders, and each finds
    what others have written by then."""
    if len({*names}) < len(names):
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise DataError(f"{twice}: is named twice")
    places = list(range(len(names)))
    random.Random(os.getpid()).shuffle(places)
    threads = THREADS if any(map(is_url, names)) else 1
    with ThreadPoolExecutor(threads) as pool:
        found = dict(zip(places, pool.map(lambda at: shard_index(names[at]), places), strict=True))
    return [found[place] for place in range(len(names))]


def _numbered(indices: Sequence[ShardIndex], origin: str, classes: Sequence[str] | None) -> Numbered:
    labels: dict[str, int] = {}
    which = []
    for index in indices:
        table = np.array([labels.setdefault(label, len(labels)) for label in index.labels], np.int32)
        which.append(table[index.which])
    return number_labels([*labels], np.concatenate(which), origin=origin, known=classes)
