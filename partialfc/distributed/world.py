"""The process group, and every collective of the head.

Nothing here is differentiable: the head derives its own gradients, so each docstring says what the
collective does forward and which one carries the gradient back. Without a process group every collective
is the identity of one rank.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor, nn

from partialfc.distributed.torchrun import launched_by_torchrun
from partialfc.distributed.traffic import Traffic
from partialfc.errors import DistributedError

REPORT_SECONDS = 5


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


@dataclass(frozen=True, slots=True)
class World:
    """The ranks of one process group, or one rank alone (group None, size 1).

    traffic counts what the collectives called on this very object moved.
    """

    group: dist.ProcessGroup | None
    rank: int
    size: int
    traffic: Traffic = field(default_factory=Traffic, compare=False, repr=False)

    @staticmethod
    def of(group: dist.ProcessGroup | None = None) -> "World":
        """The given group, else the default group if there is one, else this process alone."""
        if group is None and not dist.is_initialized():
            return World(None, 0, 1)
        group = group or dist.group.WORLD
        return World(group, dist.get_rank(group), dist.get_world_size(group))

    def backend(self, device: torch.device) -> str:
        """What carries a device's tensors between the ranks, such as gloo or nccl; "none" for one alone."""
        if self.group is None:
            return "none"
        by_device = dict(pair.split(":") for pair in dist.get_backend_config(self.group).split(","))
        return by_device.get(device.type, "none")

    def gather_integers(self, values: Sequence[int]) -> npt.NDArray[np.int64]:
        """Forward: all-gather n host integers -> [W, n]. No backward."""
        mine = torch.tensor(values, dtype=torch.int64)
        if self.size == 1:
            return mine.numpy()[None]
        mine = mine.to(self._host_device())
        gathered = mine.new_empty(self.size * len(values))
        with self._naming("all-gather of integers"), self.traffic.measured("all_gather", gathered):
            dist.all_gather_single(gathered, mine, group=self.group)
        return gathered.cpu().numpy().reshape(self.size, -1)

    def gather_texts(self, text: str) -> list[str]:
        """Forward: all-gather one host string a rank -> W strings. No backward."""
        raw = np.frombuffer(text.encode(), np.uint8).astype(np.int64)
        counts = self.gather_integers([len(raw)])[:, 0].tolist()
        ends = np.cumsum(counts)[:-1]
        parts = np.split(self.all_gather_labels(raw, counts), ends)
        return [part.astype(np.uint8).tobytes().decode() for part in parts]

    def broadcast_buffers(self, module: nn.Module) -> None:
        """Give every rank rank 0's buffers, in place (running statistics differ between DDP forwards)."""
        if self.size == 1:
            return
        with self._naming("broadcast of buffers"):
            for buffer in module.buffers():
                with self.traffic.measured("broadcast", buffer):
                    dist.broadcast(buffer, group_src=0, group=self.group)

    def all_gather_labels(
        self, labels: npt.NDArray[np.int64], counts: Sequence[int]
    ) -> npt.NDArray[np.int64]:
        """Forward: all-gather host labels [B] -> [N], rank by rank; counts [W]: every B. No backward."""
        if self.size == 1:
            return labels
        rows = torch.from_numpy(labels).to(self._host_device())
        return self.all_gather_rows(rows, counts).cpu().numpy()

    def all_gather_rows(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """Forward: all-gather rows [B, ...] -> [N, ...], rank by rank; counts [W] says each rank's B.

        Its gradient goes back through `reduce_scatter_rows`.
        """
        most = max(counts)
        if self.size == 1 or most == 0:
            return rows
        gathered = rows.new_empty(self.size * most, *rows.shape[1:])
        with self._naming("all-gather of rows"), self.traffic.measured("all_gather", gathered):
            dist.all_gather_single(gathered, _padded(rows, most), group=self.group)
        if min(counts) == most:
            return gathered
        return torch.cat([gathered[r * most : r * most + count] for r, count in enumerate(counts)])

    def all_reduce_sum(self, values: Tensor) -> Tensor:
        """Forward: the sum over ranks, on every rank. The gradient of each rank's part is that of the sum."""
        if self.size == 1 or values.numel() == 0:
            return values
        total = values.clone()
        with self._naming("all-reduce"), self.traffic.measured("all_reduce", total):
            dist.all_reduce(total, group=self.group)
        return total

    def reduce_scatter_rows(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """Forward: sum rows [N, ...] over ranks, keep this rank's [B, ...]. Takes `all_gather_rows` back."""
        most = max(counts)
        if self.size == 1 or most == 0:
            return rows
        if min(counts) < most:
            rows = torch.cat([_padded(part, most) for part in torch.split(rows, list(counts))])
        kept = rows.new_empty(most, *rows.shape[1:])
        with self._naming("reduce-scatter"), self.traffic.measured("reduce_scatter", rows):
            dist.reduce_scatter_single(kept, rows, group=self.group)
        return kept[: counts[self.rank]]

    def barrier(self) -> None:
        """Forward: wait until every rank is here."""
        self.gather_integers([0])

    def _host_device(self) -> torch.device:
        """Where a small host value must lie to be exchanged: the CPU unless the group speaks only NCCL."""
        on_cpu = "cpu" in dist.get_backend_config(self.group)
        return torch.device("cpu") if on_cpu else torch.device("cuda", torch.cuda.current_device())

    @contextmanager
    def naming_failures(self, what: str) -> Iterator[None]:
        """Like the collectives here, for code that hides some: only what looks like one failing is caught."""
        try:
            yield
        except RuntimeError as error:
            if isinstance(error, DistributedError) or not _is_of_a_collective(error):
                raise
            with self._naming(what):
                raise

    @contextmanager
    def _naming(self, what: str) -> Iterator[None]:
        """Turn a collective's failure into a DistributedError that names the ranks that fell silent."""
        try:
            yield
        except RuntimeError as error:
            silent = self._silent_ranks()
            blame = (
                f"no answer from rank {', '.join(map(str, silent))}" if silent else "every rank still answers"
            )
            raise DistributedError(
                f"{what} failed on rank {self.rank} of {self.size}: {blame}; "
                f"look for the first error in the silent rank's log ({str(error).splitlines()[0]})"
            ) from error

    def _silent_ranks(self) -> list[int]:
        """The ranks that have not reported the same failure after a few seconds."""
        store = dist.distributed_c10d._get_default_store()
        silent = []
        try:
            store.set(f"partialfc/failed/{self.rank}", "1")
            for rank in range(self.size):
                try:
                    store.wait([f"partialfc/failed/{rank}"], timedelta(seconds=REPORT_SECONDS))
                except RuntimeError:
                    silent.append(rank)
        except RuntimeError:  # the store went down with the rank that kept it
            return [rank for rank in range(self.size) if rank != self.rank]
        return silent


def _is_of_a_collective(error: RuntimeError) -> bool:
    named = any(word in str(error) for word in ("gloo", "NCCL", "Connection closed by peer"))
    return named or isinstance(error, dist.DistError)


def _padded(rows: Tensor, count: int) -> Tensor:
    if len(rows) == count:
        return rows.contiguous()
    return torch.cat([rows, rows.new_zeros(count - len(rows), *rows.shape[1:])])
