"""From a chunk's cosines to its exponentials, compiled so that each reads and writes memory once.

A chunk has k classes, each with S centres (S = 1 but for sub-centres): its cosines are [k·S, N], those of a
class together. The class's cosine is the largest of its S, and the exponential stands at that centre, with 0
at the class's others, so that the products that follow reach the winner alone.
"""

import torch
from torch import Tensor

from partialfc.head.kernels.compiled import Kernel
from partialfc.head.margin_rules import shaped
from partialfc.head.margins.base import Margin
from partialfc.head.margins.samples import Samples


@Kernel
def exponentials(
    values: Tensor,
    target_column: Tensor,
    columns: Tensor,
    scale: float | Tensor,
    shift: float | Tensor,
    offsets: Tensor | None,
    above: float | None,
    per_class: int,
    dtype: torch.dtype,
) -> None:
    """Cosines in values [k·S, N] become exp(scale · cos + offset - shift), 0 where a sample has its target.

    columns: int32 [k], the classes of values; target_column: int32 [N], which one a sample's own is; scale
    and shift: of each sample [N], or one number for all; offsets [k]: of each class, None: 0; above: cosines
    that become 0 too, None: none.
    """
    cos, winner = _of_classes(values, per_class, dtype)
    logits = _raised(cos * scale, offsets)
    left_out = _left_out(cos, target_column, columns, above)
    _put(values, torch.where(left_out, 0.0, (logits - shift).exp()), winner)


@Kernel
def rising(
    values: Tensor,
    target_column: Tensor,
    columns: Tensor,
    scale: Tensor,
    shift: Tensor,
    offsets: Tensor | None,
    above: float | None,
    per_class: int,
    room: float,
    dtype: torch.dtype,
) -> Tensor:
    """As `exponentials`, for logits without a bound -> the shift [N] that was taken.

    That is the given shift [N], or where a logit exceeds it by more than `room`, the largest logit less half
    the room.
    """
    cos, winner = _of_classes(values, per_class, dtype)
    logits = _raised(cos * scale, offsets)
    logits = torch.where(_left_out(cos, target_column, columns, above), -torch.inf, logits)
    highest = logits.amax(dim=0)
    shift = torch.where(highest > shift + room, highest - 0.5 * room, shift)
    _put(values, (logits - shift).exp(), winner)
    return shift


@Kernel
def reweighted(
    values: Tensor,
    target_column: Tensor,
    columns: Tensor,
    margin: Margin,
    cos: Tensor,
    norm: Tensor,
    class_margin: Tensor | None,
    prepared: Tensor | None,
    step: int,
    shift: float,
    offsets: Tensor | None,
    above: float | None,
    per_class: int,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Cosines in values [k·S, N] become E · dlogit/dcos; E = exp(logit + offset - shift), or 0 as there.

    The logits are those of `margin.negatives`, which sees cos, norm, class_margin [N], prepared [..., N] and
    the step of the samples. Returns the sum of E [N], and those of E · dlogit/dtarget_cos [N] and of
    E · dlogit/dprepared [..., N].
    """
    of_classes, winner = _of_classes(values, per_class, dtype)

    def logits_of(of_classes: Tensor, target_cos: Tensor, prepared: Tensor | None = None) -> Tensor:
        samples = Samples(target_cos, norm, class_margin=class_margin, prepared=prepared, step=step)
        return shaped(margin.negatives(of_classes, samples), of_classes, margin, "negatives")

    of_samples = (cos,) if prepared is None else (cos, prepared)
    logits, derivative, *_ = torch.func.vjp(logits_of, of_classes, *of_samples)
    left_out = _left_out(of_classes, target_column, columns, above)
    exponentials = torch.where(left_out, 0.0, (_raised(logits, offsets) - shift).exp())
    by_cos, by_target, *by_prepared = derivative(exponentials)
    _put(values, by_cos, winner)
    return exponentials.sum(dim=0), by_target, by_prepared[0] if by_prepared else None


def _of_classes(values: Tensor, per_class: int, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """values [k·S, N] -> the classes' [k, N], and which of each class's S that was [k, N]; None for S = 1."""
    if per_class == 1:
        return values.to(dtype), None
    # One by one, since compilers vectorise this, and no search for the place of a maximum.
    of_centres = values.view(values.shape[0] // per_class, per_class, values.shape[1]).to(dtype)
    cos = of_centres[:, 0]
    winner = torch.zeros_like(cos, dtype=torch.int32)
    for centre in range(1, per_class):
        other = of_centres[:, centre]
        winner = torch.where(other > cos, centre, winner)
        cos = torch.maximum(cos, other)
    return cos, winner


def _raised(logits: Tensor, offsets: Tensor | None) -> Tensor:
    return logits if offsets is None else logits + offsets[:, None]


def _left_out(cos: Tensor, target_column: Tensor, columns: Tensor, above: float | None) -> Tensor:
    is_target = target_column == columns[:, None]
    return is_target if above is None else is_target | (cos > above)


def _put(values: Tensor, of_classes: Tensor, winner: Tensor | None) -> None:
    """of_classes [k, N] to values [k·S, N], at each class's winner; 0 at its other centres."""
    if winner is None:
        values.copy_(of_classes)
        return
    count, samples = of_classes.shape
    of_centres = values.view(count, values.shape[0] // count, samples)
    place = torch.arange(of_centres.shape[1], dtype=torch.int32, device=values.device)[:, None]
    of_centres.copy_(torch.where(place == winner[:, None], of_classes[:, None], 0.0))
