"""How tensors are written to a checkpoint's files: in pieces, with a checksum of each file.

torch.distributed.checkpoint writes and reads one item at a time and holds it whole in memory, and a rank's
part of a tensor is one item. Here that part is split by rows, so that a few megabytes are enough for a matrix
of any size. The files and their metadata are in torch's own format, which torch reads without this module.
"""

import io
import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.filesystem import FileSystem, FileSystemWriter
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex
from torch.distributed.checkpoint.planner import SavePlan, WriteItem, WriteItemType
from torch.serialization import get_crc32_options, set_crc32_options

PIECE_BYTES = 16 << 20  # large enough for any disk; a reader, ours or torch's, holds one at a time
LARGE = 1 << 20  # bytes; from here on a second thread for the checksum saves time


class PiecePlanner(DefaultSavePlanner):
    """Torch's plan of a save, with a rank's part of a tensor split by rows, PIECE_BYTES at most a piece."""

    def __init__(self) -> None:
        super().__init__()
        self._split: dict[str, MetadataIndex] = {}  # by tensor, where this rank's part begins

    def create_local_plan(self) -> SavePlan:
        plan = super().create_local_plan()
        items = []
        for item in plan.items:
            pieces = _pieces(item)
            if len(pieces) > 1:
                self._split[item.index.fqn] = item.index
            items += pieces
        self.plan = replace(plan, items=items)
        return self.plan

    def resolve_data(self, write_item: WriteItem) -> Tensor | io.BytesIO:
        """The tensor to write for an item; of a tensor that was split, the rows of one piece, not copied."""
        index, data = write_item.index, write_item.tensor_data
        if index.fqn not in self._split:
            return super().resolve_data(write_item)
        whole = self._split[index.fqn]
        assert data
        assert index.offset
        assert whole.offset
        first = index.offset[0] - whole.offset[0]
        part: Tensor = self.lookup_object(whole)
        return _alone(part.detach()[first : first + data.chunk.sizes[0]])


@contextmanager
def without_torch_checksums() -> Iterator[None]:
    """Turn off torch.save's own CRC-32 of each tensor: nothing reads it, and it costs as much as ours."""
    before = get_crc32_options()
    set_crc32_options(False)
    try:
        yield
    finally:
        set_crc32_options(before)


class ChecksumWriter(FileSystemWriter):
    """FileSystemWriter that notes the size and CRC-32 of every file it wrote: `checksums`, by name.

    failure: the first error of a file; of it torch.save tells no more than that a position is unexpected.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.checksums: dict[str, tuple[int, int]] = {}
        self._files = _ChecksumFileSystem(self.checksums)
        self.fs = self._files

    @property
    def failure(self) -> OSError | None:
        return self._files.failure


class _ChecksumFileSystem(FileSystem):
    def __init__(self, checksums: dict[str, tuple[int, int]]) -> None:
        self.checksums = checksums
        self.failure: OSError | None = None

    @contextmanager
    def create_stream(self, path: str | os.PathLike[str], mode: str) -> Iterator[io.IOBase]:
        assert mode == "wb"
        with (
            self.noting_failure(path),
            Path(path).open("wb", buffering=0) as file,
            ThreadPoolExecutor(1, "checksum") as thread,
        ):
            stream = _ChecksumStream(file, thread, self)
            yield stream
        self.checksums[Path(path).name] = (stream.size, stream.crc)

    @contextmanager
    def noting_failure(self, path: str | os.PathLike[str]) -> Iterator[None]:
        """Note an OSError of the block, with the name of the file that it is about."""
        try:
            yield
        except OSError as error:
            self.failure = self.failure or OSError(error.errno, error.strerror, os.fspath(path))
            raise

    def mkdir(self, path: str | os.PathLike[str]) -> None:
        """The folder is there: one that was removed meanwhile is not made again."""

    def rename(self, path: str | os.PathLike[str], new_path: str | os.PathLike[str]) -> None:
        super().rename(path, new_path)
        self.checksums[Path(new_path).name] = self.checksums.pop(Path(path).name)


class _ChecksumStream(io.RawIOBase):
    """A file being written; of a large write a second thread takes the checksum while the first writes."""

    def __init__(self, file: io.FileIO, thread: ThreadPoolExecutor, files: _ChecksumFileSystem) -> None:
        self.file = file
        self.thread = thread
        self.files = files
        self.size = 0
        self.crc = 0

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.file.fileno()

    def tell(self) -> int:
        return self.size

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        if len(view) < LARGE:
            self._write(view)
            self.crc = zlib.crc32(view, self.crc)
        else:
            crc = self.thread.submit(zlib.crc32, view, self.crc)
            self._write(view)
            self.crc = crc.result()
            self._start_writeback(len(view))
        return len(view)

    def _write(self, view: memoryview) -> None:
        done = 0
        with self.files.noting_failure(str(self.file.name)):
            while done < len(view):
                done += self.file.write(view[done:])
        self.size += done

    def _start_writeback(self, length: int) -> None:
        """Let the system begin to write to the disk, so that little is left when the file is synced."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self.fileno(), self.size - length, length, os.POSIX_FADV_DONTNEED)


def _pieces(item: WriteItem) -> list[WriteItem]:
    """The item as it is, or split into items of consecutive rows with at most PIECE_BYTES each."""
    data = item.tensor_data
    if data is None or not data.chunk.sizes:
        return [item]
    rows, *row_size = data.chunk.sizes
    row_bytes = torch.Size(row_size).numel() * data.properties.dtype.itemsize
    step = max(1, PIECE_BYTES // max(1, row_bytes))
    if rows <= step:
        return [item]
    pieces = []
    for first in range(0, rows, step):
        offsets = torch.Size((data.chunk.offsets[0] + first, *data.chunk.offsets[1:]))
        sizes = torch.Size((min(step, rows - first), *row_size))
        pieces.append(
            replace(
                item,
                type=WriteItemType.SHARD,  # the one type that a tensor may have several of
                index=MetadataIndex(item.index.fqn, offsets),
                tensor_data=replace(data, chunk=ChunkStorageMetadata(offsets, sizes)),
            )
        )
    return pieces


def _alone(rows: Tensor) -> Tensor:
    """The same memory as a storage of its own: torch would copy a part of a storage to save it."""
    if rows.device.type != "cpu" or not rows.is_contiguous():
        return rows
    numbers = torch.from_numpy(rows.reshape(-1).view(torch.uint8).numpy())
    return numbers.view(rows.dtype).view(rows.shape)
