"""Parquet files, and folders of Hugging Face's `datasets`, as a labelled source."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partialfc.data.sources.byte_files import ByteFiles
from partialfc.data.sources.indexed import IndexedSource, distinct_names, narrow
from partialfc.data.sources.keys import as_key
from partialfc.data.sources.labelled import Remark
from partialfc.data.sources.numbering import Numbered, number_labels, number_named
from partialfc.data.sources.table_index import TableIndex, open_parquet, table_index
from partialfc.errors import DataError, ImageError

GROUPS_KEPT = 4  # row groups of compressed files, by each process


class TableSource(IndexedSource):
    """The rows of `.parquet` or `.arrow` files, file after file: a column of encoded images, one of labels.

    Which columns, and the names of the classes, the metadata of the `datasets` library says; else names and
    types do (table_columns.py). Without such names labels are class ids or class names (numbering.py).
    Images are read by their bytes, without pyarrow, where a file holds them as they are (table_index.py),
    with 16 bytes of memory each; else a row group at a time, of which the last four are kept.

    Raises DataError for a file that cannot be read or is damaged, MissingExtraError where pyarrow is missing.
    """

    def __init__(self, names: Sequence[str], *, origin: str, classes: Sequence[str] | None = None) -> None:
        indices = [table_index(name) for name in names]
        self._files = ByteFiles(names, [index.state for index in indices])
        self._prefixes = distinct_names(names)
        self._image_columns = [index.columns.image for index in indices]
        self._groups = [None if index.offsets is not None else index.groups for index in indices]
        counts = [sum(index.groups) for index in indices]
        self._starts = np.cumsum([0, *counts])
        self._offsets = np.concatenate([_or_zeros(index.offsets, index.groups) for index in indices])
        self._sizes = narrow(np.concatenate([_or_zeros(index.sizes, index.groups) for index in indices]))
        self._read_groups: OrderedDict[tuple[int, int], list[bytes]] = OrderedDict()
        super().__init__(origin, _numbered(names, indices, origin, classes))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_read_groups": OrderedDict()}

    @property
    def remarks(self) -> list[Remark]:
        grouped = [groups for groups in self._groups if groups is not None]
        if not grouped:
            return []
        most = max(map(max, grouped))
        return [
            Remark(
                f"{len(grouped)} parquet files are compressed or encoded, so an image is read with its whole "
                f"row group, of up to {most:,} images",
                "if that is too slow, write them anew: load_dataset('parquet', data_files=...) of the "
                "datasets library, then save_to_disk",
            )
        ]

    def name(self, index: int) -> str:
        """For messages: the file and the row."""
        which, row = self._place(index)
        return f"{self._files.names[which]} row {row}"

    def key(self, index: int) -> str:
        """The file's name and the row."""
        which, row = self._place(index)
        return as_key(f"{self._prefixes[which]}/{row}")

    def each_key(self) -> Iterator[str]:
        """The key of each image in order."""
        for prefix, count in zip(self._prefixes, np.diff(self._starts).tolist(), strict=True):
            yield from (as_key(f"{prefix}/{row}") for row in range(count))

    def state(self, index: int) -> str:
        """Of the file with the row."""
        return self._files.state(self._place(index)[0])

    def _image(self, index: int) -> bytes:
        which, row = self._place(index)
        if self._groups[which] is not None:
            data = self._in_group(which, row)
        else:
            data = self._files.read(which, int(self._offsets[index]), int(self._sizes[index]))
        if not data:
            raise ImageError(f"{self.name(index)}: the image is empty, 0 bytes")
        return data

    def _in_group(self, which: int, row: int) -> bytes:
        ends = np.cumsum(self._groups[which] or ())
        group = int(np.searchsorted(ends, row, side="right"))
        inner = row - (int(ends[group - 1]) if group else 0)
        images = self._read_groups.pop((which, group), None) or self._read_group(which, group)
        self._read_groups[which, group] = images
        if len(self._read_groups) > GROUPS_KEPT:
            self._read_groups.popitem(last=False)
        return images[inner]

    def _read_group(self, which: int, group: int) -> list[bytes]:
        name, path = self._files.names[which], self._image_columns[which]
        column, _, inner = path.partition(".")
        try:
            with open_parquet(name) as file:
                images = file.read_row_group(group, columns=[path]).column(column).to_pylist()
        except (ValueError, OSError) as error:  # pyarrow's errors are among these
            raise DataError(f"{name}: row group {group} cannot be read: {error}") from error
        return [((image or {}).get(inner) if inner else image) or b"" for image in images]

    def _place(self, index: int) -> tuple[int, int]:
        """Which file an image is in, and in which row."""
        self.class_id(index)  # checks the index
        which = int(np.searchsorted(self._starts, index, side="right")) - 1
        return which, index - int(self._starts[which])


def _numbered(
    names: Sequence[str], indices: Sequence[TableIndex], origin: str, classes: Sequence[str] | None
) -> Numbered:
    """Class ids of all rows; all files must agree on what their labels are."""
    first = indices[0]
    for name, index in zip(names, indices, strict=True):
        if index.columns.names != first.columns.names or type(index.labels) is not type(first.labels):
            raise DataError(f"{name}: its labels have other names or another type than those of {names[0]}")
    if first.columns.names is not None and not isinstance(first.labels, list):
        ids = np.concatenate([np.asarray(index.labels, np.int64) for index in indices])
        return number_named(ids, first.columns.names, origin=origin, known=classes)
    texts: dict[str, int] = {}
    which = []
    for index in indices:
        own, places = np.unique(np.asarray(index.labels), return_inverse=True)
        table = np.array([texts.setdefault(str(label), len(texts)) for label in own.tolist()], np.int32)
        which.append(table[places])
    return number_labels([*texts], np.concatenate(which), origin=origin, known=classes)


def _or_zeros(numbers: NDArray[np.int64] | None, groups: Sequence[int]) -> NDArray[np.int64]:
    return np.zeros(sum(groups), np.int64) if numbers is None else numbers
