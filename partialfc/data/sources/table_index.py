"""Where the encoded images of parquet and Arrow files lie, byte by byte, and their labels.

Parquet keeps a column of images as it is where it is neither compressed nor encoded by a dictionary, as the
`datasets` library writes it; Arrow's stream does so always. There an image is read by itself. In another
parquet file it can only be read with its whole row group.
"""

import logging
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partialfc.data.sources.byte_files import ByteFiles, state_of, streamed
from partialfc.data.sources.index_cache import load_index, save_index
from partialfc.data.sources.table_columns import Columns, arrow, columns_of
from partialfc.errors import DataError, LabelError

log = logging.getLogger(__name__)

_FILE_MAGIC = b"ARROW1"  # of the format that has a footer; the other is a stream
_END_OF_STREAM = struct.pack("<iI", -1, 0)
AGAIN = "it was cut short or is damaged; copy it again"


@dataclass(frozen=True, slots=True)
class TableIndex:
    """Of a file with n rows. labels: what the column holds, [n] numbers or n texts.

    offsets, sizes [n]: of the images, in bytes; None where they can only be read by row groups. groups: how
    many rows each row group has.
    """

    state: str
    columns: Columns
    labels: NDArray[np.int64] | list[str]
    offsets: NDArray[np.int64] | None
    sizes: NDArray[np.int64] | None
    groups: tuple[int, ...]


def table_index(name: str) -> TableIndex:
    """The index of a `.parquet`, path or URL, or of an `.arrow` file; DataError where it is damaged."""
    state = state_of(name)
    try:
        return _of_arrow(name, state) if name.endswith(".arrow") else _of_parquet(name, state)
    except (arrow().ArrowException, OSError) as error:
        raise DataError(f"{name}: cannot be read as a table: {error}; {AGAIN}") from error


def open_parquet(name: str) -> Any:
    """The pyarrow.parquet.ParquetFile of a path or URL."""
    return arrow("parquet").ParquetFile(streamed(name))


def _of_parquet(name: str, state: str) -> TableIndex:
    with open_parquet(name) as file:
        columns = columns_of(name, file.schema_arrow)
        labels = _labels(name, file.read(columns=[columns.label]).column(0))
        groups = tuple(file.metadata.row_group(at).num_rows for at in range(file.metadata.num_row_groups))
        kept = load_index(name, state)
        if kept is None:
            log.info("%s: reading where its images lie", name)
            found = _find_images(name, state, file, columns)
            kept = {} if found is None else {"offsets": found[0], "sizes": found[1]}
            save_index(name, state, kept)
    return TableIndex(state, columns, labels, kept.get("offsets"), kept.get("sizes"), groups)


def _find_images(
    name: str, state: str, file: Any, columns: Columns
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Where each image lies, and its size; None where the file does not hold them as they are."""
    offsets, sizes = [], []
    raw_bytes = ByteFiles([name], [state])
    for group in range(file.metadata.num_row_groups):
        chunk = next(
            found
            for at in range(file.metadata.num_columns)
            if (found := file.metadata.row_group(group).column(at)).path_in_schema == columns.image
        )
        if chunk.compression != "UNCOMPRESSED" or chunk.has_dictionary_page:
            return None
        start = chunk.data_page_offset
        raw = raw_bytes.read(0, start, chunk.total_compressed_size)
        end = 0
        for image in _images(name, file.read_row_group(group, columns=[columns.image]), columns):
            # A value is its length in 4 bytes, then itself; between two there is at most the head of a page.
            at = raw.find(len(image).to_bytes(4, "little") + image, end)
            if at < 0:
                return None
            offsets.append(start + at + 4)
            sizes.append(len(image))
            end = at + 4 + len(image)
    return np.array(offsets, np.int64), np.array(sizes, np.int64)


def _images(name: str, table: Any, columns: Columns) -> Iterator[bytes]:
    for row, image in enumerate(_bytes_column(table, columns).to_pylist()):
        if image is None:
            raise DataError(f"{name}: row {row} holds no image; {EMBED}")
        yield image


def _bytes_column(table: Any, columns: Columns) -> Any:
    """The column of encoded images of a table or record batch."""
    column, _, inner = columns.image.partition(".")
    found = table.column(column)
    return arrow("compute").struct_field(found, inner) if inner else found


EMBED = "where it has only paths, write it with the images' bytes in it (datasets' save_to_disk does)"


def _of_arrow(name: str, state: str) -> TableIndex:
    """Every buffer of a mapped file lies in it, so an address says where."""
    labels, offsets, sizes = [], [], []
    columns: Columns | None = None
    with arrow().memory_map(name) as file:
        whole = file.read_buffer()
        for batch in _batches(name, whole):
            columns = columns or columns_of(name, batch.schema)
            labels.append(batch.column(columns.label))
            column = _bytes_column(batch, columns)
            if column.null_count:
                raise DataError(f"{name}: {column.null_count} rows hold no image; {EMBED}")
            wide = arrow("types").is_large_binary(column.type)
            _, ends, data = column.buffers()
            places = np.frombuffer(ends, np.int64 if wide else np.int32)[column.offset :][: len(column) + 1]
            start = data.address - whole.address
            if not 0 <= start < whole.size:
                raise DataError(f"{name}: is compressed, so no image can be read by itself; save it as it is")
            offsets.append(start + places[:-1].astype(np.int64))
            sizes.append(np.diff(places).astype(np.int64))
        if columns is None:
            raise DataError(f"{name}: holds no row")
        found = _labels(name, arrow().chunked_array(labels))
    count = len(found)
    return TableIndex(state, columns, found, np.concatenate(offsets), np.concatenate(sizes), (count,))


def _batches(name: str, whole: Any) -> Iterator[Any]:
    ipc = arrow("ipc")
    if whole.slice(0, len(_FILE_MAGIC)).to_pybytes() == _FILE_MAGIC:
        file = ipc.open_file(whole)
        yield from (file.get_batch(at) for at in range(file.num_record_batches))
        return
    if whole.slice(max(0, whole.size - len(_END_OF_STREAM))).to_pybytes() != _END_OF_STREAM:
        raise DataError(f"{name}: the mark that ends a stream is missing; {AGAIN}")
    yield from ipc.open_stream(whole)


def _labels(name: str, column: Any) -> NDArray[np.int64] | list[str]:
    """The labels of a chunked array, in order."""
    if column.null_count:
        raise LabelError(f"{name}: {column.null_count} rows have no label; fill or remove them")
    types = arrow("types")
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if types.is_integer(column.type):
        labels: NDArray[np.int64] = column.to_numpy().astype(np.int64)
        return labels
    texts: list[str] = column.to_pylist()
    return texts
