"""How tensors are read from a checkpoint's files: straight into place, where nothing is to be converted."""

import io
import os
import pickle
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.planner import LoadItemType, LoadPlan, LoadPlanner, ReadItem
from torch.distributed.checkpoint.utils import _create_file_view
from torch.futures import Future

from partialfc.checkpoint.safe_metadata import SafeReader


def open_sequential(path: Path) -> io.FileIO:
    """Open a file that will be read from its beginning to its end, so that the system reads ahead."""
    file = path.open("rb", buffering=0)
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
    return file


class InPlaceReader(SafeReader):
    """SafeReader that reads contiguous rows of the saved type into CPU memory without torch's own copy."""

    def set_up_storage_reader(
        self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any
    ) -> None:
        super().set_up_storage_reader(metadata, is_coordinator, *args, **kwargs)
        self.dtypes = {
            name: entry.properties.dtype
            for name, entry in metadata.state_dict_metadata.items()
            if isinstance(entry, TensorStorageMetadata)
        }

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        by_file: dict[str, list[ReadItem]] = {}
        for item in plan.items:
            by_file.setdefault(self.storage_data[item.storage_index].relative_path, []).append(item)
        others: list[ReadItem] = []
        for name, items in by_file.items():
            with open_sequential(Path(self.path) / name) as file:
                others += [item for item in items if not self._read_in_place(file, item, planner)]
        return super().read_data(replace(plan, items=others), planner)

    def _read_in_place(self, file: io.FileIO, item: ReadItem, planner: LoadPlanner) -> bool:
        """Read the item and return True; or return False, where torch has to convert or rearrange it."""
        if item.type != LoadItemType.TENSOR:
            return False
        info = self.storage_data[item.storage_index]
        if info.transform_descriptors:
            return False
        target = planner.resolve_tensor(item).detach()
        begin, saved_size = _contiguous_record(_create_file_view(file, info.offset, info.length))
        if not (
            target.device.type == "cpu"
            and target.is_contiguous()
            and target.dtype == self.dtypes[item.storage_index.fqn]
            and saved_size is not None
            and _are_whole_rows(item, saved_size)
        ):
            return False
        row_bytes = target.dtype.itemsize * saved_size[1:].numel()
        file.seek(info.offset + begin + row_bytes * sum(item.storage_offsets[:1]))
        _read_into(target, file)
        planner.commit_tensor(item, target)
        return True


def _are_whole_rows(item: ReadItem, saved_size: torch.Size) -> bool:
    """Whether the item asks for consecutive whole rows of a tensor of that size."""
    offsets, lengths = item.storage_offsets, item.lengths
    if not saved_size or not lengths:
        return not saved_size and not lengths
    return offsets[0] + lengths[0] <= saved_size[0] and lengths[1:] == saved_size[1:]


def _read_into(target: Tensor, file: io.FileIO) -> None:
    numbers: Any = target.reshape(-1).view(torch.uint8).numpy()
    rest = memoryview(numbers)
    while len(rest):
        count = file.readinto(rest)
        if not count:
            raise EOFError(f"{file.name} ends too early")
        rest = rest[count:]


def _contiguous_record(view: Any) -> tuple[int, torch.Size | None]:
    """Of a tensor that torch.save wrote: where its numbers begin, in bytes, and its size.

    The size is None where the numbers are not stored in the tensor's order.
    """
    archive: Any = torch._C.PyTorchFileReader(view)
    if archive.get_record("byteorder").decode() != sys.byteorder:
        return 0, None
    match _Description(io.BytesIO(archive.get_record("data.pkl"))).load():
        case "_rebuild_tensor_v2", (("storage", _, key, _, count), 0, tuple(size), tuple(stride), _, _):
            flat = torch.empty(size, device="meta")
            if flat.stride() == stride and flat.numel() == count:
                return archive.get_record_offset(f"data/{key}"), flat.shape
    return 0, None


class _Description(pickle.Unpickler):
    """What torch.save wrote about a tensor, as plain tuples: nothing that it names is imported or called."""

    def find_class(self, module: str, name: str) -> Any:
        return _Named(name)

    def persistent_load(self, pid: Any) -> Any:
        return pid


class _Named(str):
    def __call__(self, *arguments: Any) -> tuple[str, tuple[Any, ...]]:
        return str(self), arguments
