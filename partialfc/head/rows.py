"""The rows of a shard that take part in a step, as they lie in memory and as they are now."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from partialfc.distributed.accelerator import on_device
from partialfc.head.kernels import elementwise
from partialfc.head.kernels.storage import Stored


class Owed(NamedTuple):
    """What rows owe to their optimizer: coefficients [K, 4], see DecayTable, None for nothing.

    velocity and bias_velocity: the momentum of the whole shard that these need, if there is any.
    """

    coefficients: Tensor | None = None
    velocity: Stored | None = None
    bias_velocity: Stored | None = None


class Kind(NamedTuple):
    """How stored rows [C_l, S·D] enter the products: each cut into S centres, lines of the products.

    unit: of norm 1; otherwise as they are. per_row: S, which is 1 but for sub-centres.
    """

    unit: bool = True
    per_row: int = 1

    def lines(self, stored: Stored) -> Stored:
        """Rows [C_l, S·D] as lines [C_l·S, D], in the same memory."""
        if self.per_row == 1:
            return stored
        scales = None if stored.scales is None else self._cut(stored.scales)
        return Stored(self._cut(stored.values), scales)

    def of_rows(self, index: Tensor | None) -> Tensor | None:
        """Which lines [k·S] rows index [k] have; None: all."""
        if index is None or self.per_row == 1:
            return index
        places = torch.arange(self.per_row, device=index.device)
        return (index[:, None] * self.per_row + places).flatten()

    def repeated(self, of_rows: Tensor) -> Tensor:
        """What there is of each row [k, ...] for each of its lines [k·S, ...]."""
        return of_rows if self.per_row == 1 else of_rows.repeat_interleave(self.per_row, dim=0)

    def _cut(self, values: Tensor) -> Tensor:
        return values.view(len(values) * self.per_row, values.shape[1] // self.per_row)


UNIT = Kind()


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows start..stop-1 of the K that take part, as the kernels want them: k rows, k·S lines."""

    start: int
    stop: int
    weight: Stored  # the lines of the whole shard, or the chunk's alone where index is None
    velocity: Stored | None
    owed: Tensor | None  # [k, 4] what they owe
    index: Tensor | None  # [k] local rows
    lines: Tensor | None  # [k·S] the same as lines
    rows: npt.NDArray[np.int64] | None  # [k] the rows on the host
    dtype: torch.dtype  # of the arithmetic
    kind: Kind

    def used_centres(self, buffer: Tensor, *, compiled: bool) -> Tensor:
        """The chunk's centres now as the products want them, [k·S, D] in the buffer's dtype and memory."""
        out = buffer[: self.num_lines]
        given = (self.weight, self.velocity, self.owed_by_lines, self.lines, self.dtype)
        elementwise.used_centres(*given, self.kind.unit, out, compiled=compiled)
        return out

    def centres(self) -> Tensor:
        """The chunk's rows now [k, S·D]."""
        now, _ = elementwise.now(self.weight, self.velocity, self.owed_by_lines, self.lines, self.dtype)
        return now.reshape(self.stop - self.start, self.kind.per_row * now.shape[1])

    def host_rows(self) -> npt.NDArray[np.int64]:
        """The chunk's local rows [k]."""
        return np.arange(self.start, self.stop) if self.rows is None else self.rows

    @property
    def num_lines(self) -> int:
        """k·S."""
        return (self.stop - self.start) * self.kind.per_row

    @property
    def owed_by_lines(self) -> Tensor | None:
        """[k·S, 4]."""
        return None if self.owed is None else self.kind.repeated(self.owed)

    @property
    def selector(self) -> Tensor | slice:
        """Selects the chunk's rows in any tensor of the shard."""
        return slice(self.start, self.stop) if self.index is None else self.index

    @property
    def line_selector(self) -> Tensor | slice:
        """Selects the chunk's lines likewise."""
        if self.lines is not None:
            return self.lines
        return slice(self.start * self.kind.per_row, self.stop * self.kind.per_row)

    def of_lines(self, stored: Stored) -> Stored:
        """Other lines of the shard, as the kernels want them for this chunk."""
        chosen = self.line_selector
        return part(stored, chosen.start, chosen.stop) if isinstance(chosen, slice) else stored

    def of_rows(self, stored: Stored) -> Stored:
        """Another tensor with a row for each class, likewise."""
        return stored if self.index is not None else part(stored, self.start, self.stop)


@dataclass(frozen=True, slots=True)
class Rows:
    """K rows of a shard. owed: what each owes [K, 4], or None; velocity: the momentum that this needs.

    weight and velocity are lines, see `Kind`; bias: those of the whole shard, where there are any.
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
    lines: Tensor | None = field(init=False)  # [K·S] the index as lines

    def __post_init__(self) -> None:
        object.__setattr__(self, "lines", self.kind.of_rows(self.index))

    @property
    def count(self) -> int:
        """K."""
        return len(self.weight.values) // self.kind.per_row if self.rows is None else len(self.rows)

    def chunks(self, per_chunk: int) -> Iterator[Chunk]:
        """All K rows, `per_chunk` at a time."""
        for start in range(0, self.count, per_chunk):
            yield self.chunk(start, min(start + per_chunk, self.count))

    def chunk(self, start: int, stop: int) -> Chunk:
        """Rows start..stop-1 of the K."""
        owed = None if self.owed is None else self.owed[start:stop]
        lines = slice(start * self.kind.per_row, stop * self.kind.per_row)
        if self.index is None or self.rows is None or self.lines is None:
            velocity = None if self.velocity is None else part(self.velocity, lines.start, lines.stop)
            weight = part(self.weight, lines.start, lines.stop)
            return Chunk(start, stop, weight, velocity, owed, None, None, None, self.dtype, self.kind)
        here = (self.index[start:stop], self.lines[lines], self.rows[start:stop])
        return Chunk(start, stop, self.weight, self.velocity, owed, *here, self.dtype, self.kind)

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
