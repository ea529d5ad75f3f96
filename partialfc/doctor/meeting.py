"""How ranks exchange texts through the store of the rendezvous, without a process group.

So a rank that cannot exchange tensors can still say why, and a missing rank is named after a timeout.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch.distributed.distributed_c10d import PrefixStore, Store

from partialfc.distributed.group import joined_group
from partialfc.distributed.rendezvous import connect, meet
from partialfc.distributed.torchrun import launched_by_torchrun
from partialfc.distributed.world import World
from partialfc.errors import DistributedError

LEAVING = 10.0  # seconds that rank 0 waits for the others at the end


class Meeting:
    """The ranks of RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, or without those one rank alone.

    timeout: seconds to wait for another rank. absent: the ranks that did not arrive within them. Raises
    DistributedError where the store cannot be reached, and on the other ranks where rank 0 is absent.
    """

    def __init__(self, *, timeout: float, environment: Mapping[str, str] = os.environ) -> None:
        self.rank, self.size = 0, 1
        self.timeout = timeout
        self.absent: list[int] = []
        self._store: Store | None = None
        self._reached: set[str] = set()
        if launched_by_torchrun(environment):
            bound = timedelta(seconds=timeout)
            store, self.rank, self.size = connect(bound, environment)
            self._store, self.absent = meet(store, rank=self.rank, size=self.size, timeout=bound)

    def tell(self, subject: str, text: str) -> None:
        """Let the other ranks know this rank's text about the subject."""
        if self._store is not None:
            self._store.set(f"{subject}/{self.rank}", text)

    def hear(self, subject: str, own: str) -> list[str | None]:
        """What every rank told about the subject, by rank; None for one that told nothing until the timeout.

        own: what this rank told. An absent rank is not waited for again.
        """
        if self._store is None:
            return [own]
        now = time.monotonic()
        deadlines = [now if rank in self.absent else now + self.timeout for rank in range(self.size)]
        return [self._read(f"{subject}/{rank}", deadline) for rank, deadline in enumerate(deadlines)]

    def hear_first(self, subject: str, *, seconds: float) -> str:
        """What rank 0 told about the subject. Raises DistributedError after so many seconds without it."""
        assert self._store is not None
        said = self._read(f"{subject}/0", time.monotonic() + seconds)
        if said is None:
            raise DistributedError(
                f"rank {self.rank} of {self.size}: no word from rank 0 within {seconds:g} s; "
                "look for its error, or raise --timeout"
            )
        return said

    def wait_for_all(self, moment: str) -> None:
        """Wait until every rank that arrived has called this or `pass_by` for the moment, or timed out."""
        self.pass_by(moment)
        if self._store is not None:
            self._read(f"{moment}/all", time.monotonic() + self.timeout)

    def pass_by(self, *moments: str) -> None:
        """Let the others wait no longer for this rank at these moments."""
        if self._store is None:
            return
        for moment in set(moments) - self._reached:
            self._reached.add(moment)
            if self._store.add(f"{moment}/count", 1) >= self.size - len(self.absent):
                self._store.set(f"{moment}/all", "yes")

    def leave(self, present: Sequence[int]) -> None:
        """Rank 0 leaves after the ranks that are present, because the store may be in its process."""
        self.tell("left", "yes")
        if self.rank == 0 and self._store is not None:
            deadline = time.monotonic() + LEAVING
            for rank in present:
                self._read(f"left/{rank}", deadline)

    @contextmanager
    def world(self, device: torch.device) -> Iterator[World]:
        """Collective: join the process group of all ranks, as training does. Raises DistributedError."""
        assert self._store is not None
        timeout = timedelta(seconds=self.timeout)
        store = PrefixStore("group", self._store)
        with joined_group(device, timeout=timeout, store=store, rank=self.rank, size=self.size):
            yield World.of()

    def _read(self, key: str, deadline: float) -> str | None:
        """The text under the key once it is there; None where it is not by the deadline."""
        assert self._store is not None
        left = max(0.01, deadline - time.monotonic())
        try:
            self._store.wait([key], timedelta(seconds=left))
            said: bytes = self._store.get(key)
            return said.decode()
        except RuntimeError:  # torch's DistStoreError: the time is over, or the store has ended
            return None
