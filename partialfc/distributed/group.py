"""The process group of a job: joined at its start, left at its end."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import Store

from partialfc.distributed.ranks import named_ranks
from partialfc.distributed.rendezvous import connect, meet
from partialfc.distributed.torchrun import launched_by_torchrun
from partialfc.errors import DistributedError


@contextmanager
def process_group(device: torch.device, *, timeout: timedelta) -> Iterator[None]:
    """Under torchrun, join the group of its processes; without it, do nothing.

    timeout: of the ranks' arrival, and of each collective. Raises DistributedError, on every rank that
    arrived, where one did not.
    """
    if not launched_by_torchrun():
        yield
        return
    store, rank, size = connect(timeout)
    place, absent = meet(store, rank=rank, size=size, timeout=timeout)
    if absent:
        raise DistributedError(
            f"{named_ranks(absent)} of {size} did not arrive within {timeout.total_seconds():g} s: "
            "look at its log and its host"
        )
    with joined_group(device, timeout=timeout, store=place, rank=rank, size=size):
        yield


@contextmanager
def joined_group(
    device: torch.device, *, timeout: timedelta, store: Store, rank: int, size: int
) -> Iterator[None]:
    """Join the default process group, and leave it at the end: gloo for tensors on the CPU, NCCL for CUDA's.

    timeout: of each collective. store: where no other group of these ranks was joined before. Raises
    DistributedError where this rank cannot join.
    """
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        dist.init_process_group(backend, timeout=timeout, store=store, rank=rank, world_size=size)
    except RuntimeError as error:
        raise DistributedError(
            f"rank {rank} of {size} cannot join the others: {str(error).splitlines()[0]}"
        ) from error
    try:
        yield
    finally:
        # The group ends, and with it gloo's threads, only with its last user. A thread that outlives the
        # interpreter aborts the process when it frees a tensor (pytorch/pytorch#190489). After an error its
        # traceback is such a user, so that `partialfc.cli.app.main` forgets the error before it ends.
        gc.collect()
        dist.destroy_process_group()
