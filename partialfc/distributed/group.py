"""The process group of a job: joined under torchrun, left at the end."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from partialfc.distributed.torchrun import launched_by_torchrun


@contextmanager
def process_group(device: torch.device, *, timeout: timedelta) -> Iterator[None]:
    """Under torchrun: in its group; alone: do nothing."""
    if not launched_by_torchrun():
        yield
        return
    with joined_group(device, timeout=timeout):
        yield


@contextmanager
def joined_group(device: torch.device, *, timeout: timedelta, **rendezvous: Any) -> Iterator[None]:
    """In the default process group: gloo for host tensors, NCCL for CUDA ones.

    rendezvous: store, rank and world_size as for init_process_group, where not the environment gives them.
    """
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=timeout, **rendezvous)
    try:
        yield
    finally:
        dist.destroy_process_group()
