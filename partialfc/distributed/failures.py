"""Failures of collectives: how they are recognised, and which ranks are to blame."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store

from partialfc.distributed.ranks import named_ranks
from partialfc.distributed.rendezvous import looks
from partialfc.errors import DistributedError

REPORT_SECONDS = 5.0  # how long the other ranks, all together, may take to report the same failure
LOST = ("Connection closed by peer", "Connection reset by peer")


@contextmanager
def naming_failures(
    what: str, *, rank: int, size: int, group: dist.ProcessGroup | None = None
) -> Iterator[None]:
    """Around code with collectives of its own, such as DistributedDataParallel's: name the silent ranks.

    Only a RuntimeError that looks like a collective's becomes a DistributedError; every other one passes.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, DistributedError) or not _is_of_a_collective(error):
            raise
        with naming_silent_ranks(what, rank=rank, size=size, group=group):
            raise


@contextmanager
def naming_silent_ranks(
    what: str, *, rank: int, size: int, group: dist.ProcessGroup | None = None
) -> Iterator[None]:
    """Around one collective: turn its RuntimeError into a DistributedError that names the silent ranks.

    rank, size: of the group; None: the default one.
    """
    try:
        yield
    except RuntimeError as error:
        # The only other rank has reported before it ended, or it never will.
        seconds = 0.0 if size == 2 and any(each in str(error) for each in LOST) else REPORT_SECONDS
        chosen = group or dist.group.WORLD
        assert chosen is not None
        prefix = f"partialfc/failed/{chosen.group_name}"
        store = PrefixStore(prefix, dist.distributed_c10d._get_default_store())
        blame = blame_of_silence(silent_ranks(store, rank=rank, size=size, seconds=seconds))
        raise DistributedError(
            f"{what} failed on rank {rank} of {size}: {blame} ({str(error).splitlines()[0]})"
        ) from error


def silent_ranks(store: Store, *, rank: int, size: int, seconds: float) -> list[int] | None:
    """Report this rank's failure in the store; the other ranks that have not reported theirs in time.

    None where the store is gone. However many ranks are silent, it takes so many seconds once.
    """
    others = [str(other) for other in range(size) if other != rank]
    try:
        store.set(str(rank), "")
        return [int(other) for other in not_there(store, others, seconds)]
    except RuntimeError:
        return None


def not_there(store: Store, keys: Sequence[str], seconds: float) -> list[str]:
    """Those of the keys that do not come into the store in time; all are waited for together."""
    missing = list(keys)
    for _ in looks(seconds):
        missing = [key for key in missing if not store.check([key])]
        if not missing:
            break
    return missing


def blame_of_silence(silent: Sequence[int] | None) -> str:
    """Who has not answered, as an error says it; None: the store is gone, so nobody could be asked."""
    if silent is None:
        return "rank 0 or torchrun has ended, and with it the store in which ranks report; look for its error"
    if not silent:
        return "every rank still answers; look for the first error in the other ranks' logs"
    return f"no answer from {named_ranks(silent)}; look for the first error in the silent rank's log"


def _is_of_a_collective(error: RuntimeError) -> bool:
    named = any(word in str(error) for word in ("gloo", "NCCL", "Connection closed by peer"))
    return named or isinstance(error, dist.DistError)
