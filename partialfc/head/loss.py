"""The loss of N samples and the weights of its gradient, in closed form, from a few numbers of each sample.

Let S be the sum of a sample's negative exponentials, t its target's logit and p the target's probability. The
loss is log(1 + S / exp(t)), and 1 - p = S / (S + exp(t)): nothing is subtracted, so no digits are lost.

From every exponent a constant is subtracted, the shift, so there is no running maximum. Logits lie in
[-bound, bound]; for bounds up to 70 in float32 (620 in float64) every exponential is a normal number. Above
that, those more than 147 (1300) below the bound round to 0. Above `largest_bound`,
head/margin_rules.py, even a logit of 0 would, so margins with such a bound are refused. Where logits have no
bound, each sample has a shift of its own, which rises with its largest logit, see head/softmax.py.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from partialfc.head.kernels.compiled import Kernel
from partialfc.head.margin_rules import shaped
from partialfc.head.margins.base import Margin
from partialfc.head.margins.samples import Samples
from partialfc.head.weights import Share


def headroom(dtype: torch.dtype) -> float:
    """How far the largest exponent may lie above 0 so that a sum over 10^11 classes stays finite."""
    return 600.0 if dtype == torch.float64 else 60.0


class Targets(NamedTuple):
    """What a margin makes of N targets, each [N]."""

    logit: Tensor
    by_product: Tensor  # dlogit by the unit embedding's product with the centre: the cosine for unit centres
    by_norm: Tensor  # dlogit/dnorm; without what follows from the product, where norms are factors of logits
    penalty: Tensor  # the regulariser, 0 where the margin has none
    penalty_by_norm: Tensor
    by_centre_norm: Tensor | None = None  # the same by the centre's norm, where that counts


@dataclass(frozen=True, slots=True)
class Weights:
    """The gradient of the mean loss, each [N]."""

    target: Tensor  # by the target's product
    ratio: Tensor  # target / negatives, which is finite where both are 0; in the products' dtype
    negatives: Tensor  # by a negative's product, once multiplied by its E · dlogit/dproduct / slope
    norm: Tensor  # by the embedding's norm
    unsound: Tensor  # 0, or NaN where target or negatives are not finite
    target_logit: Tensor | None = None  # by the target's logit, where centres' norms count
    centre_norm: Tensor | None = None  # by the norm of the target's centre, where that counts


def targets_of(margin: Margin, samples: Samples, offset: Tensor | None = None, *, fused: bool) -> Targets:
    """The samples' own logits, offset [N] included, and their derivatives, by autograd.

    fused: whether to compile this, for a margin that says it may be.
    """
    if fused and margin.compiles and samples.centre_norm is None and margin.normalises_embeddings:
        cos, norm = samples.cos.detach(), samples.norm.detach()
        return _derived(margin, cos, norm, samples.class_margin, compiled=True)
    cos, norm = samples.cos.detach().requires_grad_(), samples.norm.detach().requires_grad_()
    centre_norm = None if samples.centre_norm is None else samples.centre_norm.detach().requires_grad_()
    samples = replace(samples, cos=cos, norm=norm, centre_norm=centre_norm)
    leaves = (cos, norm) if centre_norm is None else (cos, norm, centre_norm)
    with torch.enable_grad():
        logit = shaped(margin.target(samples), cos, margin, "target")
        penalty = margin.regulariser(samples)
    by_cos, by_norm, *by_centre_norm = torch.autograd.grad(
        logit, leaves, torch.ones_like(logit), allow_unused=True, materialize_grads=True
    )
    if penalty is None:
        penalty = penalty_by_norm = torch.zeros_like(by_norm)
    else:
        penalty = shaped(penalty, norm, margin, "regulariser")
        (penalty_by_norm,) = torch.autograd.grad(penalty, norm, torch.ones_like(norm))
    logit, penalty = logit.detach(), penalty.detach()
    if offset is not None:
        logit = logit + offset
    radial = by_cos * cos.detach()
    if not margin.normalises_embeddings:
        by_norm = by_norm - radial / norm.detach()
    if centre_norm is None:
        return Targets(logit, by_cos, by_norm, penalty, penalty_by_norm)
    centre_norm = centre_norm.detach()
    by_centre = by_centre_norm[0] - radial / centre_norm
    return Targets(logit, by_cos / centre_norm, by_norm, penalty, penalty_by_norm, by_centre)


@Kernel
def _derived(margin: Margin, cos: Tensor, norm: Tensor, class_margin: Tensor | None) -> Targets:
    """As `targets_of`, for a margin without a regulariser."""

    def logit_of(cos: Tensor, norm: Tensor) -> Tensor:
        return margin.target(Samples(cos, norm, class_margin=class_margin))

    results = torch.func.vjp(logit_of, cos, norm)
    logit, back = results[0], results[1]
    by_cos, by_norm = back(torch.ones_like(logit))
    nothing = torch.zeros_like(logit)
    return Targets(logit, by_cos, by_norm, nothing, nothing)


def loss_of(
    targets: Targets,
    sums: Tensor,
    by_target: Tensor | None,
    *,
    share: Share,
    shift: float | Tensor,
    slope: float | Tensor,
    dtype: torch.dtype,
    fused: bool,
) -> tuple[Tensor, Weights]:
    """S [N] and by_target [N], the sum of E · dlogit/dtarget_cos or None for 0 -> the mean loss, its weights.

    share: a sample's part of the mean; shift: of the exponents in S; slope: dlogit/dproduct of the negatives,
    the same for all of a sample [N], or a constant; dtype: of the matrix products.
    """
    of_samples, ratio = _of_samples(targets, sums, by_target, shift, slope, dtype, compiled=fused)
    losses, target, negatives, norm, unsound, *of_centre = (of_samples * share).unbind()
    return losses.sum(), Weights(target, ratio, negatives, norm, unsound, *of_centre)


@Kernel
def _of_samples(
    targets: Targets,
    sums: Tensor,
    by_target: Tensor | None,
    shift: float | Tensor,
    slope: float | Tensor,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """As `loss_of` -> before the shares: losses and the weights but the ratio [5 or 7, N]; the ratio [N]."""
    logit, log_sums = targets.logit - shift, sums.log()
    losses = targets.penalty + torch.logaddexp(log_sums - logit, torch.zeros_like(logit))
    missing = torch.sigmoid(log_sums - logit)  # 1 - p
    lowest = -headroom(log_sums.dtype) - 20.0  # keeps exp finite where every term was rounded to 0
    inverse = torch.exp(-torch.logaddexp(log_sums, logit).clamp_min(lowest))
    target = -missing * targets.by_product
    if by_target is not None:
        target = target + inverse * by_target
    negatives = inverse * slope
    norm = -missing * targets.by_norm + targets.penalty_by_norm
    limit = torch.finfo(torch.float32 if dtype == torch.bfloat16 else dtype).max
    ratio = (target / negatives).clamp(-limit, limit).to(dtype)
    unsound = target * 0.0 + negatives * 0.0
    of_samples = [losses, target, negatives, norm, unsound]
    if targets.by_centre_norm is not None:
        of_samples += [-missing, -missing * targets.by_centre_norm]
    return torch.stack(of_samples), ratio
