"""The rows of a shard that take part in a step, as they lie in memory and as they are now."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from partialfc.distributed.accelerator import on_device
from partialfc.head.kernels import elementwise
from partialfc.head.kernels.elementwise import UNIT, Kind
from partialfc.head.kernels.storage import Stored


class Owed(NamedTuple):
    """What rows owe to their optimizer: coefficients [K, 4], see DecayTable, None for nothing.

    velocity and bias_velocity: the momentum of the whole shard that these need, if there is any.
    """

    coefficients: Tensor | None = None
    velocity: Stored | None = None
    bias_velocity: Stored | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows start..stop-1 of the K that take part, as the kernels want them."""

    start: int
    stop: int
    weight: Stored  # the whole shard's, or the chunk's alone where index is None
    velocity: Stored | None
    owed: Tensor | None  # [k, 4] what they owe
    index: Tensor | None  # [k] local rows
    rows: npt.NDArray[np.int64] | None  # [k] the same on the host
    dtype: torch.dtype  # of the arithmetic
    kind: Kind

    def used_centres(self, buffer: Tensor, *, compiled: bool) -> Tensor:
        """The chunk's centres now as the products want them, [k·S, D] in the buffer's dtype and memory."""
        out = buffer[: (self.stop - self.start) * self.kind.per_row]
        elementwise.used_centres(
            self.weight, self.velocity, self.owed, self.index, self.dtype, self.kind, out, compiled=compiled
        )
        return out

    def centres(self) -> Tensor:
        """The chunk's rows now [k, S·D]."""
        return elementwise.now(self.weight, self.velocity, self.owed, self.index, self.dtype)[0]

    def host_rows(self) -> npt.NDArray[np.int64]:
        """The chunk's local rows [k]."""
        return np.arange(self.start, self.stop) if self.rows is None else self.rows

    @property
    def selector(self) -> Tensor | slice:
        """Selects the chunk's rows in any tensor of the shard."""
        return slice(self.start, self.stop) if self.index is None else self.index

    def of(self, stored: Stored) -> Stored:
        """Another tensor of the shard, as the kernels want it for this chunk."""
        return stored if self.index is not None else part(stored, self.start, self.stop)


@dataclass(frozen=True, slots=True)
class Rows:
    """K rows of a shard. owed: what each owes [K, 4], or None; velocity: the momentum that this needs.

    kind: how they enter the products; bias: those of the whole shard, where there are any.
    """

    weight: Stored
    velocity: Stored | None
    owed: Tensor | None
    rows: npt.NDArray[np.int64] | None  # [K] ascending; None: all
    index: Tensor | None  # the same on the device
    dtype: torch.dtype
    kind: Kind = UNIT
    bias: Stored | None = None  # [C_l, 1]
    bias_velocity: Stored | None = None

    @property
    def count(self) -> int:
        """K."""
        return len(self.weight.values) if self.rows is None else len(self.rows)

    def chunks(self, per_chunk: int) -> Iterator[Chunk]:
        """All K rows, `per_chunk` at a time."""
        for start in range(0, self.count, per_chunk):
            yield self.chunk(start, min(start + per_chunk, self.count))

    def chunk(self, start: int, stop: int) -> Chunk:
        """Rows start..stop-1 of the K."""
        owed = None if self.owed is None else self.owed[start:stop]
        if self.index is None or self.rows is None:
            velocity = None if self.velocity is None else part(self.velocity, start, stop)
            weight = part(self.weight, start, stop)
            return Chunk(start, stop, weight, velocity, owed, None, None, self.dtype, self.kind)
        index, rows = self.index[start:stop], self.rows[start:stop]
        return Chunk(start, stop, self.weight, self.velocity, owed, index, rows, self.dtype, self.kind)

    def all(self) -> Tensor:
        """Every one of the K rows now [K, S·D]."""
        return self.chunk(0, self.count).centres()

    def biases(self) -> Tensor | None:
        """The biases of the K rows now [K]; None for centres without."""
        if self.bias is None:
            return None
        now, _ = elementwise.now(self.bias, self.bias_velocity, self.owed, self.index, self.dtype)
        return now.squeeze(1)


def part(stored: Stored, start: int, stop: int) -> Stored:
    """Rows start..stop-1 of a stored tensor, in the same memory."""
    scales = None if stored.scales is None else stored.scales[start:stop]
    return Stored(stored.values[start:stop], scales)


def index_of(rows: npt.NDArray[np.int64] | None, device: torch.device) -> Tensor | None:
    """Host rows [K] -> the same on the device; None: all."""
    return None if rows is None else on_device(torch.from_numpy(rows), device)
