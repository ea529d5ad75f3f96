"""The element-wise parts of a step: functions of a chunk, compiled so that each reads and writes memory once.

Everything here is per row or per element: k rows of a chunk, never a matrix product. A chunk's rows are
given as (weight, velocity, owed, index): the stored rows [C_l, D] and momentum, what the chunk's rows owe
[k, 4] and the rows themselves [k]; index None says that the stored tensors are the chunk. A step's `applies`
[] says on the device whether it moves anything; None: it does.
"""

import torch
from torch import Tensor

from partialfc.head.kernels.compiled import Kernel
from partialfc.head.kernels.in_place import in_place
from partialfc.head.kernels.storage import Noise, Stored, read, uniform, write

EPSILON = 1e-12  # the smallest norm to divide by, as in torch.nn.functional.normalize


def now(
    weight: Stored, velocity: Stored | None, owed: Tensor | None, index: Tensor | None, dtype: torch.dtype
) -> tuple[Tensor, Tensor | None]:
    """The rows [k, D] and their momentum [k, D] after the steps they owe, see head/kernels/decay.py."""
    rows = read(weight, index, dtype)
    moving = None if velocity is None else read(velocity, index, dtype)
    if owed is None:
        return rows, moving
    ww, wv, vw, vv = owed.to(dtype).unsqueeze(2).unbind(1)
    if moving is None:
        return ww * rows, None
    return ww * rows + wv * moving, vw * rows + vv * moving


def inverse_norms(rows: Tensor) -> Tensor:
    """rows [n, D] -> 1 / norm [n, 1]."""
    return 1.0 / (rows * rows).sum(dim=1, keepdim=True).sqrt().clamp_min(EPSILON)


def through_normalisation(gradient: Tensor, rows: Tensor) -> Tensor:
    """The gradient by the unit rows [n, D] -> the gradient by the rows [n, D] themselves."""
    inverse = inverse_norms(rows)
    radial = (gradient * rows).sum(dim=1, keepdim=True)
    return (gradient - (radial * inverse * inverse) * rows) * inverse


def by_rows(gradient: Tensor, rows: Tensor, unit: bool) -> Tensor:
    """The gradient by rows as they enter products, of norm 1 or as they are -> that by the rows [n, D]."""
    return through_normalisation(gradient, rows) if unit else gradient


@Kernel
def normalised(rows: Tensor) -> tuple[Tensor, Tensor]:
    """rows [n, D] -> the same of norm 1, and their norms [n]."""
    inverse = inverse_norms(rows)
    return rows * inverse, inverse.reciprocal().squeeze(1)


@Kernel
def used_centres(
    weight: Stored,
    velocity: Stored | None,
    owed: Tensor | None,
    index: Tensor | None,
    dtype: torch.dtype,
    unit: bool,
    out: Tensor,
) -> None:
    """out [k, D] = the rows as they are now, as the products want them: of norm 1, or as they are."""
    rows, _ = now(weight, velocity, owed, index, dtype)
    out.copy_(rows * inverse_norms(rows) if unit else rows)


@in_place(0.5, 0.9, 0.01)
def sgd(
    rows_in: tuple[Stored, Stored | None],
    rows_out: tuple[Stored, Stored | None],
    index: Tensor | None,
    settings: Tensor,
    owed: Tensor | None,
    gradient: Tensor,
    has_momentum: bool,
    dtype: torch.dtype,
    unit: bool,
    noise: Noise | None,
    floats: Tensor | None,
    applies: Tensor | None,
) -> None:
    """A step of torch.optim.SGD on weight and velocity; gradient [k, D]: by the rows as they enter products.

    settings: lr, momentum, weight decay. floats [k, D]: what momentum is written to in place of rows_out.
    """
    (weight, velocity), (weight_out, velocity_out) = rows_in, rows_out
    rows, moving = now(weight, velocity, owed, index, dtype)
    lr, momentum, decay = settings.to(dtype).unbind()
    change = by_rows(gradient.to(dtype), rows, unit) + decay * rows
    if has_momentum and moving is not None:
        change = moving = momentum * moving + change
    for_weight, for_velocity = uniform(noise)
    write(weight_out, index, rows - lr * change, for_weight, applies=applies, before=weight)
    if floats is not None and moving is not None:
        floats.copy_(moving)
    elif velocity_out is not None and moving is not None:
        write(velocity_out, index, moving, for_velocity, applies=applies, before=velocity)


@Kernel
def pay(
    weight: Stored,
    velocity: Stored | None,
    owed: Tensor,
    dtype: torch.dtype,
    noise: Noise | None,
    floats: Tensor | None,
) -> None:
    """Write rows and momentum as they are after the steps they owe; floats: as for `sgd`."""
    rows, moving = now(weight, velocity, owed, None, dtype)
    for_weight, for_velocity = uniform(noise)
    write(weight, None, rows, for_weight)
    if floats is not None and moving is not None:
        floats.copy_(moving)
    elif velocity is not None and moving is not None:
        write(velocity, None, moving, for_velocity)


@in_place()
def store(
    rows_in: tuple[Stored],
    rows_out: tuple[Stored],
    index: Tensor | None,
    settings: None,
    floats: Tensor,
    noise: Noise,
    applies: Tensor | None,
) -> None:
    """Write momentum [k, D] in 8 bits, once all of it is computed: a scale needs its whole block first."""
    write(rows_out[0], index, floats, uniform(noise)[1], applies=applies, before=rows_in[0])


@in_place(0.5, 0.9, 0.99, 1e-8, 0.01)
def adamw(
    rows_in: tuple[Stored, Stored, Stored],
    rows_out: tuple[Stored, Stored, Stored],
    index: Tensor | None,
    settings: Tensor,
    count: Tensor,
    gradient: Tensor,
    dtype: torch.dtype,
    unit: bool,
    noise: Noise | None,
    applies: Tensor | None,
) -> None:
    """A step of torch.optim.AdamW on weight and its moments, of the gradient and of its square.

    settings: lr, beta1, beta2, eps, weight decay. count [k]: the steps of each row, this one included.
    """
    (weight, mean, square), (weight_out, mean_out, square_out) = rows_in, rows_out
    rows = read(weight, index, dtype)
    lr, beta1, beta2, eps, decay = settings.to(dtype).unbind()
    by_row = by_rows(gradient.to(dtype), rows, unit)
    first_moment = torch.lerp(read(mean, index, dtype), by_row, 1.0 - beta1)
    second_moment = beta2 * read(square, index, dtype) + (1.0 - beta2) * by_row * by_row
    taken = count[:, None].to(dtype)
    unbiased = first_moment / (1.0 - beta1**taken)
    size = (second_moment / (1.0 - beta2**taken)).sqrt() + eps
    moved = rows * (1.0 - lr * decay) - lr * unbiased / size
    write(weight_out, index, moved, uniform(noise)[0], applies=applies, before=weight)
    write(mean_out, index, first_moment, None, applies=applies, before=mean)
    write(square_out, index, second_moment, None, applies=applies, before=square)
