"""The ranks of a process group, and every collective between them.

Autograd does not see these calls: the head computes its gradients itself. So each docstring says what the
call does ("Forward"), and which call its user makes in the backward pass to carry the gradient back
("Backward"). One rank alone exchanges nothing: it gets back what it gave.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor, nn

from partialfc.distributed.accelerator import OnTheWay, beside, current_accelerator, on_device
from partialfc.distributed.failures import naming_silent_ranks
from partialfc.distributed.torch_names import all_gather_single, reduce_scatter_single
from partialfc.distributed.traffic import Traffic
from partialfc.errors import DistributedError


@dataclass(frozen=True, slots=True)
class World:
    """The ranks of one process group, or one rank alone (group None, size 1).

    rank: this process's number in 0..size-1. traffic: what the collectives called on this object moved.
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

    def __deepcopy__(self, memo: dict[int, Any]) -> "World":
        """The same ranks: a copy of what knows them, such as a module, is in the same group."""
        return self

    def backend(self, device: torch.device) -> str:
        """What carries a device's tensors between ranks, such as gloo or nccl; "none" for one rank alone."""
        if self.group is None:
            return "none"
        return self._backends().get(device.type, "none")

    def _backends(self) -> dict[str, str]:
        """By the type of device whose tensors it carries, each backend of the group."""
        return dict(pair.split(":") for pair in dist.get_backend_config(self.group).split(","))

    def gather_integers(
        self, values: Sequence[int] | npt.NDArray[np.int64], *, device: torch.device | None = None
    ) -> npt.NDArray[np.int64]:
        """Forward: n integers of every rank -> [W, n] on every rank. Backward: none.

        They go from CPU to CPU. In a group that carries no CPU tensors they go through `device`, or else this
        process's current accelerator, and the host waits for them. NCCL runs a group's collectives in the
        order of their calls, on whatever streams (ncclLaunchPrepare in its src/enqueue.cc): so it waits for
        those called before, and not for what else is computed.
        """
        mine = np.asarray(values, np.int64)
        if self.size == 1 or len(mine) == 0:
            return np.repeat(mine[None], self.size, axis=0)
        device = self._host_device(device)
        with beside(device):
            told = on_device(torch.from_numpy(mine), device)
            gathered = told.new_empty(self.size * len(mine))
            with self._exchange("all-gather of integers", "all_gather", gathered):
                all_gather_single(gathered, told, group=self.group)
            arriving = OnTheWay(gathered)
        return arriving.values().numpy().reshape(self.size, -1)

    def gather_texts(self, text: str) -> list[str]:
        """Forward: a string of every rank -> W strings, by rank, on every rank. Backward: none."""
        raw = np.frombuffer(text.encode(), np.uint8).astype(np.int64)
        counts = self.gather_integers([len(raw)])[:, 0].tolist()
        padded = self.gather_integers(np.pad(raw, (0, max(counts) - len(raw))))
        parts = [row[:count] for row, count in zip(padded, counts, strict=True)]
        return [part.astype(np.uint8).tobytes().decode() for part in parts]

    def broadcast_buffers(self, module: nn.Module) -> None:
        """Forward: overwrite a module's buffers on every rank with rank 0's, in place. Backward: none.

        DistributedDataParallel does the same, but only at the start of a forward pass: running statistics,
        which the pass then changes, differ between ranks after it.
        """
        if self.size == 1:
            return
        for buffer in module.buffers():
            with self._exchange("broadcast of buffers", "broadcast", buffer):
                dist.broadcast(buffer, group_src=0, group=self.group)

    def all_gather_rows(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """Forward: rows [B, ...] of every rank -> [N, ...], rank by rank, on every rank; counts [W]: each B.

        Backward: `reduce_scatter_rows`. Every rank has a gradient [N, ...] of all rows; that call sums them,
        and gives each rank the part [B, ...] of the rows that it gave.
        """
        most = max(counts)
        if self.size == 1 or most == 0:
            return rows
        gathered = rows.new_empty(self.size * most, *rows.shape[1:])
        with self._exchange("all-gather of rows", "all_gather", gathered):
            all_gather_single(gathered, _padded(rows, most), group=self.group)
        if min(counts) == most:
            return gathered
        return torch.cat([gathered[r * most : r * most + count] for r, count in enumerate(counts)])

    def all_reduce_sum(self, values: Tensor) -> Tensor:
        """Forward: values [...] of every rank -> their sum [...], on every rank.

        Backward: no call; the gradient of each rank's values is the gradient of the sum.
        """
        if self.size == 1 or values.numel() == 0:
            return values
        total = values.clone()
        with self._exchange("all-reduce", "all_reduce", total):
            dist.all_reduce(total, group=self.group)
        return total

    def all_reduce_max(self, values: Tensor) -> Tensor:
        """Forward: values [...] of every rank -> the largest of each [...], on every rank. Backward: none."""
        if self.size == 1 or values.numel() == 0:
            return values
        largest = values.clone()
        with self._exchange("all-reduce", "all_reduce", largest):
            dist.all_reduce(largest, dist.ReduceOp.MAX, group=self.group)
        return largest

    def reduce_scatter_rows(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """Forward: rows [N, ...] of every rank -> of their sum, each rank's own [B, ...]; counts [W]: each B.

        The head calls it in the backward pass, to carry the gradient of `all_gather_rows` back.
        Backward: `all_gather_rows`; nothing here needs it.
        """
        most = max(counts)
        if self.size == 1 or most == 0:
            return rows
        if min(counts) < most:
            rows = torch.cat([_padded(part, most) for part in torch.split(rows, list(counts))])
        kept = rows.new_empty(most, *rows.shape[1:])
        with self._exchange("reduce-scatter", "reduce_scatter", rows):
            reduce_scatter_single(kept, rows, group=self.group)
        return kept[: counts[self.rank]]

    def exchange_rows(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """Forward: rows [N, ...] for all samples on every rank -> [W, B, ...]: every rank's for one's own.

        counts [W]: each B; the samples come rank by rank. Backward: none.
        """
        own = counts[self.rank]
        if self.size == 1 or max(counts) == 0:
            return rows[None]
        received = rows.new_empty(self.size * own, *rows.shape[1:])
        larger = max(rows, received, key=len)
        with self._exchange("exchange of rows", "all_to_all", larger):
            dist.all_to_all_single(
                received, rows.contiguous(), [own] * self.size, list(counts), group=self.group
            )
        return received.view(self.size, own, *rows.shape[1:])

    def barrier(self) -> None:
        """Forward: wait until every rank has called this. Backward: none."""
        self.gather_integers([0])

    def _host_device(self, own: torch.device | None) -> torch.device:
        """Where the host's values are exchanged: on the CPU, unless the group has only an accelerator's."""
        backends = self._backends()
        if "cpu" not in backends:
            for device in (own, current_accelerator()):
                if device is not None and device.type in backends:
                    return device
        return torch.device("cpu")

    @contextmanager
    def _exchange(self, what: str, collective: str, tensor: Tensor) -> Iterator[None]:
        """Around one collective; tensor: the larger of the two that it takes and gives."""
        if self.backend(tensor.device) == "none":
            carried = ", ".join(f"{backend} for {kind}" for kind, backend in self._backends().items())
            raise DistributedError(
                f"{what}: the process group carries no {tensor.device.type} tensors, its backends are "
                f'{carried}; make it with init_process_group("cpu:gloo,cuda:nccl"), or without GPUs with '
                'init_process_group("gloo")'
            )
        naming = naming_silent_ranks(what, rank=self.rank, size=self.size, group=self.group)
        with naming, self.traffic.measured(collective, tensor):
            yield


def _padded(rows: Tensor, count: int) -> Tensor:
    """rows [n, ...] -> [count, ...], with zeros after them: every rank's part must have the same size."""
    if len(rows) == count:
        return rows.contiguous()
    return torch.cat([rows, rows.new_zeros(count - len(rows), *rows.shape[1:])])
