"""How tensors reach a checkpoint's files: in pieces, each byte summed on its way.

torch.distributed.checkpoint writes and reads one item at a time and holds it whole, and it makes one item of
all that a rank has of a tensor. Here that is split by rows, so that a matrix of any size passes through a few
megabytes. The files and their metadata are torch's own, which reads them without anything of this.
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
LARGE = 1 << 20  # writes for which a second thread pays


class PiecePlanner(DefaultSavePlanner):
    """Torch's plan for a save, with what is more than PIECE_BYTES of a tensor split by rows."""

    def __init__(self) -> None:
        super().__init__()
        self._split: dict[str, MetadataIndex] = {}  # by name, where the part that was split begins

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
        """What to write for an item: of a tensor that was split, one piece's rows, not copied."""
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
def without_sums_of_torch() -> Iterator[None]:
    """Without the CRC-32 that torch.save takes of each tensor: no one looks at it, and it costs like ours."""
    before = get_crc32_options()
    set_crc32_options(False)
    try:
        yield
    finally:
        set_crc32_options(before)


class SummedWriter(FileSystemWriter):
    """FileSystemWriter that knows the size and CRC-32 of every file it wrote: `sums`, by name."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.sums: dict[str, tuple[int, int]] = {}
        self.fs = _SummingFileSystem(self.sums)


class _SummingFileSystem(FileSystem):
    def __init__(self, sums: dict[str, tuple[int, int]]) -> None:
        self.sums = sums

    @contextmanager
    def create_stream(self, path: str | os.PathLike[str], mode: str) -> Iterator[io.IOBase]:
        assert mode == "wb"
        with Path(path).open("wb", buffering=0) as file, ThreadPoolExecutor(1, "checksum") as thread:
            stream = _SummedStream(file, thread)
            yield stream
        self.sums[Path(path).name] = (stream.size, stream.sum)

    def rename(self, path: str | os.PathLike[str], new_path: str | os.PathLike[str]) -> None:
        super().rename(path, new_path)
        self.sums[Path(new_path).name] = self.sums.pop(Path(path).name)


class _SummedStream(io.RawIOBase):
    """A file being written; what is large is summed by a second thread while the first writes it."""

    def __init__(self, file: io.FileIO, thread: ThreadPoolExecutor) -> None:
        self.file = file
        self.thread = thread
        self.size = 0
        self.sum = 0

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
            self.sum = zlib.crc32(view, self.sum)
        else:
            summed = self.thread.submit(zlib.crc32, view, self.sum)
            self._write(view)
            self.sum = summed.result()
            self._start_writeback(len(view))
        return len(view)

    def _write(self, view: memoryview) -> None:
        done = 0
        while done < len(view):
            done += self.file.write(view[done:])
        self.size += done

    def _start_writeback(self, length: int) -> None:
        """Let the disk begin now; else all of it may be left to do when the file is synced."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self.fileno(), self.size - length, length, os.POSIX_FADV_DONTNEED)


def _pieces(item: WriteItem) -> list[WriteItem]:
    """The item alone, or as many items of consecutive rows as it takes for each to fit PIECE_BYTES."""
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
    """The same memory as a storage of its own: torch would copy part of a larger one before saving it."""
    if rows.device.type != "cpu" or not rows.is_contiguous():
        return rows
    numbers = torch.from_numpy(rows.reshape(-1).view(torch.uint8).numpy())
    return numbers.view(rows.dtype).view(rows.shape)
