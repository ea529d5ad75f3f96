"""What pass 1 leaves for the loss and for pass 2."""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from partialfc.distributed.accelerator import is_accelerator
from partialfc.head.kernels.buffers import Loan


@dataclass(slots=True)
class Kept:
    """The exponentials that wait for pass 2: E · dlogit/dcos / slope of the first R columns, [R, N].

    Whoever holds the loss holds this too, so it is emptied as soon as pass 2 is done. A second backward
    through a retained graph then computes them again.
    """

    loan: Loan
    values: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.values = self.loan.tensor

    def release(self) -> None:
        self.values = self.values.new_empty(0, self.values.shape[1])
        self.loan.end()


@dataclass(frozen=True, slots=True)
class PassOne:
    """What pass 1 leaves, over this rank's negatives of each sample."""

    sums: Tensor  # [N] sum of E
    pull: Tensor  # [N, D] sum of E · dlogit/dproduct / slope · centre
    by_target: "ByTarget | None"  # None for plain negatives
    kept: Kept
    shift: float | Tensor  # what was subtracted from the logits, for logits without a bound [N]
    rises: tuple["Rise", ...] = ()  # what the kept exponentials of a chunk had subtracted

    def shifted(self, shift: Tensor) -> "PassOne":
        """The same for a shift [N] that is nowhere lower than any so far; changes pull and kept in place."""
        factor = torch.exp(self.shift - shift)
        for rise in self.rises:
            if is_accelerator(shift.device) or not torch.equal(rise.shift, shift):
                self.kept.values[rise.lines].mul_(torch.exp(rise.shift - shift))
        pull = self.pull.mul_(factor[:, None])
        return replace(self, sums=self.sums * factor, pull=pull, shift=shift, rises=())


class ByTarget(NamedTuple):
    """How the sum of E depends on what a margin knows of the samples."""

    cos: Tensor  # [N] sum of E · dlogit/dtarget_cos
    prepared: Tensor | None  # [..., N] sum of E · dlogit/dprepared, see `Margin.prepare`

    def added(self, more: "ByTarget | None") -> "ByTarget":
        if more is None:
            return self
        prepared = self.prepared
        if prepared is not None and more.prepared is not None:
            prepared = prepared + more.prepared
        return ByTarget(self.cos + more.cos, prepared)


@dataclass(frozen=True, slots=True, eq=False)
class Rise:
    """The shift [N] of kept lines."""

    lines: slice
    shift: Tensor
