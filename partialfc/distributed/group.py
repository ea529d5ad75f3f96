"""The process group of a job: joined at its start, left at its end."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import Store

from partialfc.distributed.accelerator import is_accelerator
from partialfc.distributed.device import backends_for
from partialfc.distributed.ranks import named_ranks
from partialfc.distributed.rendezvous import connect, meet
from partialfc.distributed.torchrun import launched_by_torchrun
from partialfc.distributed.watch import watching
from partialfc.errors import DistributedError

WATCHDOG_LATER = timedelta(seconds=60)


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
    """Join the default process group, of gloo and of what carries the device's tensors; leave it at the end.

    timeout: of each collective. store: where no other group of these ranks was joined before. Raises
    DistributedError where this rank cannot join, ConfigError where nothing carries the device's tensors. A
    collective of an accelerator that does not end in time ends this process (`partialfc.distributed.watch`).
    """
    backends = backends_for(device)
    try:
        with watching(device, timeout=timeout, store=store, rank=rank, size=size):
            try:
                dist.init_process_group(
                    backends,
                    timeout=timeout,
                    store=store,
                    rank=rank,
                    world_size=size,
                    device_id=device if is_accelerator(device) else None,  # NCCL connects now, not later
                )
            except RuntimeError as error:
                raise DistributedError(
                    f"rank {rank} of {size} cannot join the others: {str(error).splitlines()[0]}"
                ) from error
            _give_way(device, timeout)
            yield
    finally:
        # The group ends, and with it gloo's threads, only with its last user. A thread that outlives the
        # interpreter aborts the process when it frees a tensor (pytorch/pytorch#190489). After an error its
        # traceback is such a user, so that `partialfc.cli.app.main` forgets the error before it ends.
        gc.collect()
        if dist.is_initialized():
            dist.destroy_process_group()


def _give_way(device: torch.device, timeout: timedelta) -> None:
    """Let torch's own watchdog, which ends a process and names nobody, wait longer than ours."""
    if is_accelerator(device):
        assert dist.group.WORLD is not None
        dist.group.WORLD._get_backend(device).set_timeout(timeout + WATCHDOG_LATER)
