"""Second handles on a tensor's memory, and the check that an update through them is right.

An update reads a row, computes, and writes it back. Told that the tensor written is another one than the
tensor read, the compiler does all three in one loop: half the traffic of gathering, updating and scattering.
It may then order reads and writes of different rows as it likes, which is fine, for rows are distinct; but it
must not write a row and read it again after. It has no reason to, and `handle_for` makes sure on a few rows.
"""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from partialfc.head.stored import Stored

Handle = Callable[[Stored], Stored]
SmallStep = Callable[[Handle, bool], list[Tensor]]


def same(stored: Stored) -> Stored:
    return stored


def second_handle(stored: Stored) -> Stored:
    """The same memory as another tensor."""
    scales = None if stored.scales is None else from_dlpack(stored.scales)
    return Stored(from_dlpack(stored.values), scales)


def handle_for(step: SmallStep, *, compiled: bool) -> Handle:
    """`second_handle` where the compiled step(handle, compiled) moves a few rows as the eager one does.

    This compiles the step, early and beside little else in memory. Eager code gains nothing from second
    handles, and a compiler that got it wrong is told the truth, with a warning.
    """
    if not compiled:
        return same
    pairs = zip(step(same, False), step(second_handle, True), strict=True)
    if all(_close(fast, plain) for plain, fast in pairs):
        return second_handle
    warnings.warn(
        "this version of torch.compile orders an update's reads and writes so that it must not be told that "
        "they are apart: the head is right, but slower; please report it",
        RuntimeWarning,
        stacklevel=2,
    )
    return same


def _close(value: Tensor, true: Tensor) -> bool:
    """Up to two steps of the coarsest grid that rows are rounded to."""
    value, true = value.to(torch.float64), true.to(torch.float64)
    return bool((value - true).abs().max() <= 0.03 * true.abs().max())
