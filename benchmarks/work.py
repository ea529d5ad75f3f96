"""What one measurement of the head's step does: its sizes, dtypes and random batches."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

SCALE, MARGIN = 64.0, 0.5  # ArcFace
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.01, 0.9, 5e-4
DTYPES = (torch.float32, torch.bfloat16)  # of the products
# Classes and sample rate of the two cases that the floor is compared with.
SAMPLED, FULL = (1_000_000, 0.1), (200_000, 1.0)


@dataclass(frozen=True)
class Work:
    """Sizes and dtypes; the batch is the global one, threads are those of each process."""

    classes: int
    sample_rate: float
    threads: int
    compute: torch.dtype = torch.float32
    storage: torch.dtype = torch.float32
    momentum: torch.dtype = torch.float32
    processes: int = 1
    batch: int = 256
    embedding: int = 512
    device: str = "cpu"  # and each process has the same one
    compile: bool | None = None  # the head's kernels; None: as the head decides
    margin: str = "ArcFace"  # of MARGINS in ours.py

    @property
    def rows(self) -> int:
        """How many centres take part in a step, over all processes."""
        return max(1, round(self.sample_rate * self.classes))

    @property
    def batch_here(self) -> int:
        """Samples of the batch on one process."""
        return self.batch // self.processes

    def columns(self) -> dict[str, Any]:
        """What a row of results says of it."""
        return {
            "classes": self.classes,
            "sample_rate": self.sample_rate,
            "rows": self.rows,
            "compute": name_of(self.compute),
            "storage": name_of(self.storage),
            "momentum": name_of(self.momentum),
            "processes": self.processes,
            "threads": self.threads,
            "batch": self.batch,
            "embedding": self.embedding,
            "device": self.device,
        }

    def batches(self, rank: int) -> Iterator[tuple[Tensor, Tensor]]:
        """This rank's embeddings [B, D], a leaf that wants a gradient, and labels [B]; new in each step.

        Embeddings lie on the device, as a backbone leaves them, and labels on the CPU, as a loader does.
        """
        generator = torch.Generator().manual_seed(rank)
        while True:
            embeddings = torch.randn(self.batch_here, self.embedding, generator=generator)
            labels = torch.randint(self.classes, (self.batch_here,), generator=generator)
            yield embeddings.to(self.device).requires_grad_(), labels


def name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def dtype_of(name: str) -> torch.dtype:
    dtype = getattr(torch, name)
    assert isinstance(dtype, torch.dtype)
    return dtype
