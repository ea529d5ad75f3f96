"""Second handles: other tensors on the same memory, and the check that an update through them is right.

An update reads a row, computes, and writes it back. Told that the tensor written is another one than the
tensor read, the compiler does all three in one loop: half the traffic of gathering, updating and scattering.
It may then order reads and writes of different rows as it likes, which is fine, since rows are distinct; but
it must not write a row and read it afterwards. It has no reason to, and `choose_handle` tries a few rows.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from partialfc.head.kernels.storage import Stored

ToHandle = Callable[[Stored], Stored]  # `same` or `second_handle`
SmallStep = Callable[[ToHandle, bool], list[Tensor]]


@dataclass(frozen=True, slots=True)
class SmallShard:
    """A few rows to try an update on: 5 of 7 take part."""

    weight: Stored  # [7, D]
    index: Tensor  # [5]
    gradient: Tensor  # [5, D] by the unit rows

    @staticmethod
    def like(weight: Tensor, *, math_dtype: torch.dtype, compute_dtype: torch.dtype) -> "SmallShard":
        """Of the same row size, dtypes and device as a head's."""
        size, device = weight.shape[1], weight.device
        values = torch.linspace(-1.0, 1.0, 7 * size, dtype=math_dtype, device=device).view(7, size).sin()
        return SmallShard(
            weight=Stored(values.to(weight.dtype)),
            index=torch.tensor([0, 1, 3, 4, 6], device=device),
            gradient=values[:5].cos().to(compute_dtype),
        )


def same(stored: Stored) -> Stored:
    """No second handle: the tensors themselves."""
    return stored


def second_handle(stored: Stored) -> Stored:
    """The same memory as another tensor."""
    scales = None if stored.scales is None else from_dlpack(stored.scales)
    return Stored(from_dlpack(stored.values), scales)


def choose_handle(step: SmallStep, *, compiled: bool) -> ToHandle:
    """`second_handle` if step(to_handle, compiled) moves a few rows as the eager step does, otherwise `same`.

    This compiles the step, early, while little else is in memory. Eager code gains nothing from second
    handles. Where the compiled update through them comes out wrong, `same` comes with a warning.
    """
    if not compiled:
        return same
    pairs = zip(step(same, False), step(second_handle, True), strict=True)
    if all(_close(fast, plain) for plain, fast in pairs):
        return second_handle
    warnings.warn(
        "this version of torch.compile updates rows wrongly when they are written through a second handle, "
        "so the head does without: its results are right, but it is slower; please report it",
        RuntimeWarning,
        stacklevel=2,
    )
    return same


def _close(value: Tensor, true: Tensor) -> bool:
    """Whether they differ by no more than two steps of the coarsest grid that rows are rounded to."""
    value, true = value.to(torch.float64), true.to(torch.float64)
    return bool((value - true).abs().max() <= 0.03 * true.abs().max())
