"""Small checkpoints: every kind of tensor, saved and loaded by one rank of any world."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from partialfc.checkpoint import CheckpointFolder, Tensors, newest
from partialfc.checkpoint import writing as checkpoint_writing
from partialfc.distributed import World
from partialfc.head.shard import chunk_range

C = 10
D = 4
WHOLE = checkpoint_writing.PIECE_BYTES
SMALL = 3 * D * 4  # three rows of float32


def full_matrix(rows: int = C) -> Tensor:
    return torch.arange(rows * D, dtype=torch.float32).view(rows, D)


def full_tensors(rows: int = C) -> dict[str, Tensor]:
    """Every kind of row state that heads have."""
    numbers = full_matrix(rows)
    return {
        "weight": numbers,
        "narrow": (numbers / 7).bfloat16(),
        "momentum": (numbers % 255 - 127).to(torch.int8),
        "scale": numbers.flip(1) / 3,
        "row_step": torch.arange(rows, dtype=torch.int32),
    }


def tensors(world: World, rows: int = C, *, blank: bool = False) -> Tensors:
    start, stop = chunk_range(rows, world.rank, world.size)
    sharded = {name: full[start:stop].clone() for name, full in full_tensors(rows).items()}
    if blank:
        sharded = {name: torch.full_like(part, -1) for name, part in sharded.items()}
    return Tensors(
        sharded,
        {"backbone/w": torch.arange(30.0), "backbone/n": torch.tensor(7)},
        {"rng": torch.tensor([world.rank], dtype=torch.uint8)},
    )


class Evil:
    """Pickles as a call that leaves the file `owned` in the current folder."""

    def __reduce__(self) -> Any:
        return os.system, ("touch owned",)


@contextmanager
def pieces_of(piece_bytes: int) -> Iterator[None]:
    checkpoint_writing.PIECE_BYTES = piece_bytes
    try:
        yield
    finally:
        checkpoint_writing.PIECE_BYTES = WHOLE


def save(path: str, step: int = 1, rows: int = C, piece_bytes: int = WHOLE, **extra: Any) -> None:
    world = World.of()
    state = {"step": step, "world_size": world.size, **extra}
    with pieces_of(piece_bytes):
        CheckpointFolder(Path(path), world).save(step, tensors(world, rows), state, num_classes=rows)


def load(path: str, rows: int = C) -> dict[str, Any]:
    world = World.of()
    folder = CheckpointFolder(Path(path), world)
    start = newest(folder)
    assert start is not None
    state, found = folder.load(start.checkpoint, tensors(world, rows, blank=True), num_classes=rows)
    return {
        "state": state,
        **found.sharded,
        "replicated": dict(found.replicated),
        "private": dict(found.private),
    }
