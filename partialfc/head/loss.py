"""The loss of N samples and the weights of its gradient, in closed form, from a few numbers of each sample.

Let S be the sum of a sample's negative exponentials, t its target's logit and p the target's probability. The
loss is log(1 + S / exp(t)), and 1 - p = S / (S + exp(t)): nothing is subtracted, so no digits are lost.

From every exponent a constant is subtracted, the shift, so there is no running maximum. Logits lie in
[-bound, bound]; for bounds up to 70 in float32 (620 in float64) every exponential is a normal number. Above
that, those more than 147 (1300) below the bound round to 0. Above `largest_bound`,
head/margin_rules.py, even a logit of 0 would, so margins with such a bound are refused.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from partialfc.head.margin_rules import shaped
from partialfc.head.margins.base import Margin
from partialfc.head.weights import Share


def headroom(dtype: torch.dtype) -> float:
    """How far the largest exponent may lie above 0 so that a sum over 10^11 classes stays finite."""
    return 600.0 if dtype == torch.float64 else 60.0


@dataclass(frozen=True, slots=True)
class Targets:
    """What a margin makes of N targets, each [N]."""

    logit: Tensor  # minus the shift
    by_cos: Tensor  # dlogit/dcos
    by_norm: Tensor  # dlogit/dnorm
    penalty: Tensor  # the regulariser, 0 where the margin has none
    penalty_by_norm: Tensor


@dataclass(frozen=True, slots=True)
class Weights:
    """The gradient of the mean loss, each [N]."""

    target: Tensor  # by the target's cosine
    ratio: Tensor  # target / negatives, which is finite where both are 0
    negatives: Tensor  # by a negative's cosine, once multiplied by its E · dlogit/dcos / slope
    norm: Tensor  # by the embedding's norm


def targets_of(margin: Margin, cos: Tensor, norm: Tensor, *, shift: float) -> Targets:
    """Target cos [N] and embedding norm [N] -> the targets' logits and their derivatives, by autograd."""
    cos, norm = cos.detach().requires_grad_(), norm.detach().requires_grad_()
    with torch.enable_grad():
        logit = shaped(margin.target(cos, norm), cos, margin, "target")
        penalty = margin.regulariser(norm)
    by_cos, by_norm = torch.autograd.grad(
        logit, (cos, norm), torch.ones_like(logit), allow_unused=True, materialize_grads=True
    )
    if penalty is None:
        penalty = penalty_by_norm = torch.zeros_like(by_norm)
    else:
        penalty = shaped(penalty, norm, margin, "regulariser")
        (penalty_by_norm,) = torch.autograd.grad(penalty, norm, torch.ones_like(norm))
    return Targets(logit.detach() - shift, by_cos, by_norm, penalty.detach(), penalty_by_norm)


def sample_losses(targets: Targets, log_sums: Tensor) -> Tensor:
    """log S [N] -> the loss of each sample [N], its regulariser included."""
    return targets.penalty + torch.logaddexp(log_sums - targets.logit, torch.zeros_like(log_sums))


def weights_of(
    targets: Targets, log_sums: Tensor, by_target: Tensor | None, *, share: Share, slope: float
) -> Weights:
    """log S [N] and by_target [N], the sum of E · dlogit/dtarget_cos or None for 0 -> the gradient's weights.

    share: a sample's part of the mean; slope: the constant dlogit/dcos of the negatives.
    """
    missing = torch.sigmoid(log_sums - targets.logit)  # 1 - p
    lowest = -headroom(log_sums.dtype) - 20.0  # keeps exp finite where every term was rounded to 0
    inverse = torch.exp(-torch.logaddexp(log_sums, targets.logit).clamp_min(lowest))
    target = -missing * targets.by_cos
    if by_target is not None:
        target = target + inverse * by_target
    negatives = inverse * slope
    norm = -missing * targets.by_norm + targets.penalty_by_norm
    return Weights(target * share, target / negatives, negatives * share, norm * share)
