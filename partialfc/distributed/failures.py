"""Failures of collectives: recognised, and told with the ranks that fell silent."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch.distributed as dist

from partialfc.errors import DistributedError

REPORT_SECONDS = 5


@contextmanager
def naming_failures(what: str, *, rank: int, size: int) -> Iterator[None]:
    """Like the collectives of World, for code that hides some: only what looks like one failing is caught."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, DistributedError) or not _is_of_a_collective(error):
            raise
        with naming_silent_ranks(what, rank=rank, size=size):
            raise


@contextmanager
def naming_silent_ranks(what: str, *, rank: int, size: int) -> Iterator[None]:
    """Turn a collective's failure into a DistributedError that names the ranks that fell silent."""
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
    """The ranks that have not reported the same failure after a few seconds."""
    store = dist.distributed_c10d._get_default_store()
    silent = []
    try:
        store.set(f"partialfc/failed/{rank}", "1")
        for other in range(size):
            try:
                store.wait([f"partialfc/failed/{other}"], timedelta(seconds=REPORT_SECONDS))
            except RuntimeError:
                silent.append(other)
    except RuntimeError:  # the store went down with the rank that kept it
        return [other for other in range(size) if other != rank]
    return silent


def _is_of_a_collective(error: RuntimeError) -> bool:
    named = any(word in str(error) for word in ("gloo", "NCCL", "Connection closed by peer"))
    return named or isinstance(error, dist.DistError)
