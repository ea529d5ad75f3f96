"""Failures of collectives: how they are recognised, and which ranks are to blame."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch.distributed as dist

from partialfc.errors import DistributedError

REPORT_SECONDS = 5  # how long another rank may take to report the same failure


@contextmanager
def naming_failures(what: str, *, rank: int, size: int) -> Iterator[None]:
    """Around code with collectives of its own, such as DistributedDataParallel's: name the silent ranks.

    Only a RuntimeError that looks like a collective's becomes a DistributedError; every other one passes.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, DistributedError) or not _is_of_a_collective(error):
            raise
        with naming_silent_ranks(what, rank=rank, size=size):
            raise


@contextmanager
def naming_silent_ranks(what: str, *, rank: int, size: int) -> Iterator[None]:
    """Around one collective: turn its RuntimeError into a DistributedError that names the silent ranks."""
    try:
        yield
    except RuntimeError as error:
        silent = _silent_ranks(rank, size)
        blame = f"no answer from rank {', '.join(map(str, silent))}" if silent else "every rank still answers"
        raise DistributedError(
            f"{what} failed on rank {rank} of {size}: {blame}; "
            f"look for the first error in the silent rank's log ({str(error).splitlines()[0]})"
        ) from error


def _silent_ranks(rank: int, size: int) -> list[int]:
    """The ranks that have not reported a failure of theirs within REPORT_SECONDS each."""
    store = dist.distributed_c10d._get_default_store()
    silent = []
    try:
        store.set(f"partialfc/failed/{rank}", "1")
        for other in range(size):
            try:
                store.wait([f"partialfc/failed/{other}"], timedelta(seconds=REPORT_SECONDS))
            except RuntimeError:
                silent.append(other)
    except RuntimeError:  # the store has ended with the rank that held it
        return [other for other in range(size) if other != rank]
    return silent


def _is_of_a_collective(error: RuntimeError) -> bool:
    named = any(word in str(error) for word in ("gloo", "NCCL", "Connection closed by peer"))
    return named or isinstance(error, dist.DistError)
