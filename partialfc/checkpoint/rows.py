"""Some rows of a matrix of a checkpoint, without reading the others."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, TensorStorageMetadata
from torch.distributed.checkpoint.planner import LoadPlan, ReadItem
from torch.distributed.checkpoint.planner_helpers import create_read_items_for_chunk_list

from partialfc.checkpoint.reading import InPlaceReader
from partialfc.checkpoint.store import checkpoint_error


class SavedRows:
    """A checkpoint's sharded tensors, of which any range of rows can be read on one process alone."""

    def __init__(self, checkpoint: Path) -> None:
        self._checkpoint = checkpoint
        with checkpoint_error(f"{checkpoint} cannot be read"):
            self._reader = InPlaceReader(checkpoint)
            metadata = self._reader.read_metadata()
            self._reader.set_up_storage_reader(metadata, True)
        self._entries = {
            name.removeprefix("sharded/"): entry
            for name, entry in metadata.state_dict_metadata.items()
            if name.startswith("sharded/") and isinstance(entry, TensorStorageMetadata)
        }

    def shape(self, name: str) -> torch.Size | None:
        """The whole tensor's shape, [C, ...]; None if the checkpoint has none of that name."""
        return self._entries[name].size if name in self._entries else None

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Rows start..stop of a tensor [C, ...] -> [stop - start, ...], as they were stored."""
        entry, full = self._entries[name], f"sharded/{name}"
        size = torch.Size([stop - start, *entry.size[1:]])
        wanted = ChunkStorageMetadata(torch.Size([start, *[0] * (len(size) - 1)]), size)
        rows = torch.empty(size, dtype=entry.properties.dtype)
        if rows.numel():
            items = create_read_items_for_chunk_list(full, entry, [wanted])
            with checkpoint_error(f"{self._checkpoint} cannot be read"):
                self._reader.read_data(LoadPlan(items), _Into(rows))
        return rows


class _Into(DefaultLoadPlanner):
    """Gives each item the rows of one tensor that it is to be read into."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self._rows = rows

    def resolve_tensor(self, read_item: ReadItem) -> Any:
        first, count = read_item.dest_offsets[0], read_item.lengths[0]
        return self._rows[first : first + count]
