"""The process group of a job: joined at its start, left at its end."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from partialfc.distributed.torchrun import launched_by_torchrun


@contextmanager
def process_group(device: torch.device, *, timeout: timedelta) -> Iterator[None]:
    """Under torchrun, join the group of its processes; without it, do nothing."""
    if not launched_by_torchrun():
        yield
        return
    with joined_group(device, timeout=timeout):
        yield


@contextmanager
def joined_group(device: torch.device, *, timeout: timedelta, **rendezvous: Any) -> Iterator[None]:
    """Join the default process group, and leave it at the end: gloo for tensors on the CPU, NCCL for CUDA's.

    timeout: of each collective. rendezvous: store, rank and world_size, as init_process_group takes them,
    where the environment does not give them.
    """
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=timeout, **rendezvous)
    try:
        yield
    finally:
        # The group ends, and with it gloo's threads, only with its last user. A thread that outlives the
        # interpreter aborts the process when it frees a tensor (pytorch/pytorch#190489).
        gc.collect()
        dist.destroy_process_group()
