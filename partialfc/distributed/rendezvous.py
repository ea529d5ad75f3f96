"""How the ranks of a job find each other: in a place of the launcher's store that no attempt before has used.

torchrun keeps one store over all its restarts, with what the processes of earlier attempts left in it, such
as addresses at which nobody listens any more; torch.distributed takes them for those of the ranks that start.
Nothing in the environment tells one attempt from another on all nodes: each torchrun counts its own restarts.
"""

import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from datetime import timedelta

import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store

from partialfc.distributed.torchrun import serves_store
from partialfc.errors import DistributedError

SHORTEST_PAUSE, LONGEST_PAUSE = 0.01, 0.2  # seconds between two looks into the store
VERDICT_SECONDS = 5.0  # how much longer a rank waits, once its own time is over, to hear who is missing


def connect(timeout: timedelta, environment: Mapping[str, str] = os.environ) -> tuple[Store, int, int]:
    """The launcher's store, this process's rank and the number of ranks, as the environment gives them.

    Raises DistributedError where the store cannot be reached within the timeout.
    """
    rank, size = int(environment["RANK"]), int(environment["WORLD_SIZE"])
    host, port = environment["MASTER_ADDR"], int(environment["MASTER_PORT"])
    serves = serves_store(environment)
    try:
        store = dist.TCPStore(  # type: ignore[attr-defined]
            host, port, is_master=serves, wait_for_workers=False, timeout=timeout
        )
    except RuntimeError as error:
        problem = (
            f"cannot listen on MASTER_PORT {port} of {host}: end what uses it, or set another MASTER_PORT"
            if serves
            else f"no answer at {host}:{port} (MASTER_ADDR, MASTER_PORT) within "
            f"{timeout.total_seconds():g} s: start rank 0, and let this host reach that port"
        )
        raise DistributedError(f"rank {rank} of {size}: {problem}") from error
    return store, rank, size


def meet(store: Store, *, rank: int, size: int, timeout: timedelta) -> tuple[Store, list[int]]:
    """Collective: this attempt's own place in the store, and the ranks that did not arrive in time.

    Both are the same on every rank that arrived. Raises DistributedError where rank 0 did not, or has ended.

    A rank knocks with a name that no other process has. Rank 0 answers every knock, those of dead processes
    included; only a rank that lives reads the answer to its own, and enters. When all have entered, or the
    time is over, rank 0 says who is missing.
    """
    own, seconds = uuid.uuid4().hex, timeout.total_seconds()
    began = time.monotonic()
    try:
        if rank == 0:
            place = PrefixStore(own, store)
            return place, _receive(store, place, own, size, seconds)
        store.set(f"partialfc/knock/{rank}", own)
        answer = f"partialfc/answer/{own}"
        store.wait([answer], timeout)
        place = PrefixStore(store.get(answer).decode(), store)
        place.set(f"entered/{rank}", "")
        left = began + seconds - time.monotonic() + VERDICT_SECONDS
        place.wait(["absent"], timedelta(seconds=left))
        absent: list[int] = json.loads(place.get("absent"))
        place.set(f"heard/{rank}", "")
        return place, absent
    except RuntimeError as error:
        silent = isinstance(error, dist.DistStoreError)
        what = f"rank 0 did not arrive within {seconds:g} s" if silent else "rank 0 or torchrun has ended"
        raise DistributedError(f"rank {rank} of {size}: {what}; look for its error") from error


def _receive(store: Store, place: Store, own: str, size: int, seconds: float) -> list[int]:
    """Rank 0's part of `meet`: let the others in; returns those that did not come."""
    answered: dict[int, str] = {}
    waited_for = list(range(1, size))
    for _ in looks(seconds):
        waited_for = [other for other in waited_for if not place.check([f"entered/{other}"])]
        if not waited_for:
            break
        for other in waited_for:
            knock = f"partialfc/knock/{other}"
            name = store.get(knock).decode() if store.check([knock]) else None
            if name is not None and answered.get(other) != name:
                store.set(f"partialfc/answer/{name}", own)
                answered[other] = name
    place.set("absent", json.dumps(waited_for))
    listening = [other for other in range(1, size) if other not in waited_for]
    for _ in looks(VERDICT_SECONDS):  # the store may be this process's, and end with it
        listening = [other for other in listening if not place.check([f"heard/{other}"])]
        if not listening:
            break
    return waited_for


def looks(seconds: float) -> Iterator[None]:
    """Times to look for something in a store: now, after pauses that grow, and when the seconds are over."""
    deadline = time.monotonic() + seconds
    pause = SHORTEST_PAUSE
    yield
    while (left := deadline - time.monotonic()) > 0:
        time.sleep(min(pause, left))
        pause = min(2 * pause, LONGEST_PAUSE)
        yield
