"""What a checkpoint holds in tensors: their names in it, and their views as DTensors.

Sharded tensors are saved as DTensors (Shard(0), the ranges of torch.chunk), so they load at another world
size without anyone gathering the whole.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard

from partialfc.distributed.world import World
from partialfc.errors import CheckpointError


@dataclass(frozen=True)
class Tensors:
    """The tensors of a checkpoint on one rank, by name.

    sharded: this rank's rows [C_l, ...] of matrices with a row for each class; other_rows: of those that have
    none for each class, how many rows all ranks have together.
    replicated: equal on every rank.
    private: this rank's own, such as the state of random generators; read only at the same world size.
    """

    sharded: Mapping[str, Tensor]
    replicated: Mapping[str, Tensor]
    private: Mapping[str, Tensor]
    other_rows: Mapping[str, int] = field(default_factory=dict)

    def whole(self, name: str, num_classes: int) -> torch.Size:
        """The shape of a sharded tensor over all ranks."""
        return torch.Size((self.other_rows.get(name, num_classes), *self.sharded[name].shape[1:]))


def named_views(tensors: Tensors, num_classes: int, world: World) -> dict[str, Tensor]:
    """The tensors by their names in the checkpoint; in a process group sharded ones as DTensors [C, ...]."""
    flat = {f"replicated/{name}": _plain(tensor) for name, tensor in tensors.replicated.items()}
    flat |= {f"private/{world.rank}/{name}": _plain(tensor) for name, tensor in tensors.private.items()}
    mesh = None
    for name, rows in tensors.sharded.items():
        if world.group is None:
            flat[f"sharded/{name}"] = rows
            continue
        mesh = mesh or DeviceMesh.from_group(world.group, rows.device.type)
        shape = tensors.whole(name, num_classes)
        flat[f"sharded/{name}"] = DTensor.from_local(
            rows, mesh, [Shard(0)], shape=shape, stride=_contiguous_stride(shape)
        )
    return flat


def _plain(tensor: Tensor) -> Tensor:
    """The same memory, so described that equal tensors give equal files.

    A dimension of size 1 may have any stride: that of one input channel has another in a kernel read back
    from a checkpoint than in one that a step left in the order channels_last.
    """
    strides = zip(tensor.shape, tensor.stride(), _contiguous_stride(tensor.shape), strict=True)
    return tensor.as_strided(tensor.shape, [plain if size == 1 else own for size, own, plain in strides])


def _contiguous_stride(shape: torch.Size) -> tuple[int, ...]:
    """The strides of a contiguous tensor."""
    return torch.empty(shape, device="meta").stride()


def total_bytes(tensors: Tensors, num_classes: int, world: World) -> int:
    """The bytes of all ranks' numbers, which a checkpoint's files take, but for some thousand."""
    sharded = tensors.sharded.items()
    replicated = sum(tensor.nbytes for tensor in tensors.replicated.values())
    return (
        sum(tensors.whole(name, num_classes).numel() * rows.itemsize for name, rows in sharded)
        + replicated
        + world.size * sum(tensor.nbytes for tensor in tensors.private.values())
    )


def check_kind(checkpoint: Path, name: str, tensor: Tensor, saved: object) -> None:
    """CheckpointError unless the checkpoint's metadata of a tensor, `saved`, fits the run's own tensor."""
    if not isinstance(saved, TensorStorageMetadata):
        raise CheckpointError(
            f"{checkpoint} holds no {name}: it was written with another head or optimizer, or other losses"
        )
    if saved.size != tensor.shape:
        raise CheckpointError(
            f"{checkpoint} holds {name} of shape {tuple(saved.size)}, this run's is {tuple(tensor.shape)}"
        )
    dtype = saved.properties.dtype
    both_float = dtype.is_floating_point and tensor.dtype.is_floating_point
    if dtype != tensor.dtype and not both_float:  # between which torch converts
        raise CheckpointError(
            f"{checkpoint} holds {name} in {dtype}, this run's is {tensor.dtype}, "
            "and one is not converted to the other"
        )
