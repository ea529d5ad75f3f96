"""The loss of N samples and the weights of its gradient, in closed form, from a few numbers of each sample.

Let S be the sum of a sample's negative exponentials, t its target's logit and p the target's probability. The
loss is log(1 + S / exp(t)), and 1 - p = S / (S + exp(t)): nothing is subtracted, so no digits are lost.

From every exponent a constant is subtracted, the shift, so there is no running maximum. Logits lie in
[-bound, bound]; for bounds up to 70 in float32 (620 in float64) every exponential is a normal number. Above
that, those more than 147 (1300) below the bound round to 0. Above `largest_bound`,
head/margin_rules.py, even a logit of 0 would, so margins with such a bound are refused.
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
    by_cos: Tensor  # dlogit/dcos
    by_norm: Tensor  # dlogit/dnorm
    penalty: Tensor  # the regulariser, 0 where the margin has none
    penalty_by_norm: Tensor


@dataclass(frozen=True, slots=True)
class Weights:
    """The gradient of the mean loss, each [N]."""

    target: Tensor  # by the target's cosine
    ratio: Tensor  # target / negatives, which is finite where both are 0; in the products' dtype
    negatives: Tensor  # by a negative's cosine, once multiplied by its E · dlogit/dcos / slope
    norm: Tensor  # by the embedding's norm
    unsound: Tensor  # 0, or NaN where target or negatives are not finite


def targets_of(margin: Margin, samples: Samples, *, fused: bool) -> Targets:
    """The samples' own logits and their derivatives, by autograd.

    fused: whether to compile this, for a margin that says it may be.
    """
    cos, norm = samples.cos.detach(), samples.norm.detach()
    if fused and margin.compiles:
        return _derived(margin, cos, norm, compiled=True)
    samples = replace(samples, cos=cos.requires_grad_(), norm=norm.requires_grad_())
    with torch.enable_grad():
        logit = shaped(margin.target(samples), cos, margin, "target")
        penalty = margin.regulariser(samples)
    by_cos, by_norm = torch.autograd.grad(
        logit, (cos, norm), torch.ones_like(logit), allow_unused=True, materialize_grads=True
    )
    if penalty is None:
        penalty = penalty_by_norm = torch.zeros_like(by_norm)
    else:
        penalty = shaped(penalty, norm, margin, "regulariser")
        (penalty_by_norm,) = torch.autograd.grad(penalty, norm, torch.ones_like(norm))
    return Targets(logit.detach(), by_cos, by_norm, penalty.detach(), penalty_by_norm)


@Kernel
def _derived(margin: Margin, cos: Tensor, norm: Tensor) -> Targets:
    """As `targets_of`, for a margin without a regulariser."""
    results = torch.func.vjp(lambda cos, norm: margin.target(Samples(cos, norm)), cos, norm)
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
    shift: float,
    slope: float,
    dtype: torch.dtype,
    fused: bool,
) -> tuple[Tensor, Weights]:
    """S [N] and by_target [N], the sum of E · dlogit/dtarget_cos or None for 0 -> the mean loss, its weights.

    share: a sample's part of the mean; shift: of the exponents in S; slope: the constant dlogit/dcos of the
    negatives; dtype: of the matrix products.
    """
    of_samples, ratio = _of_samples(targets, sums, by_target, shift, slope, dtype, compiled=fused)
    losses, target, negatives, norm, unsound = (of_samples * share).unbind()
    return losses.sum(), Weights(target, ratio, negatives, norm, unsound)


@Kernel
def _of_samples(
    targets: Targets,
    sums: Tensor,
    by_target: Tensor | None,
    shift: float,
    slope: float,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """As `loss_of` -> before the shares: losses and the weights but the ratio [5, N]; the ratio [N]."""
    logit, log_sums = targets.logit - shift, sums.log()
    losses = targets.penalty + torch.logaddexp(log_sums - logit, torch.zeros_like(logit))
    missing = torch.sigmoid(log_sums - logit)  # 1 - p
    lowest = -headroom(log_sums.dtype) - 20.0  # keeps exp finite where every term was rounded to 0
    inverse = torch.exp(-torch.logaddexp(log_sums, logit).clamp_min(lowest))
    target = -missing * targets.by_cos
    if by_target is not None:
        target = target + inverse * by_target
    negatives = inverse * slope
    norm = -missing * targets.by_norm + targets.penalty_by_norm
    limit = torch.finfo(torch.float32 if dtype == torch.bfloat16 else dtype).max
    ratio = (target / negatives).clamp(-limit, limit).to(dtype)
    unsound = target * 0.0 + negatives * 0.0
    return torch.stack([losses, target, negatives, norm, unsound]), ratio
