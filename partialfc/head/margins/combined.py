"""Margins: small differentiable functions of the cosine, written forward only.

The head asks a margin for the target's logit of N samples and lets autograd find the derivative, where
it costs nothing. The hot loop over negatives knows margins only through `Margin.negatives`.
"""

import math

import torch
from torch import Tensor, nn

from partialfc.head.arguments import above, at_least, one_of

STRAIGHT_THROUGH = "straight_through"
EXACT = "exact"


class Margin(nn.Module):
    """What a margin may define; only `target` is required.

    A subclass may keep state (running averages) in buffers; `update` sees the statistics of the global
    batch, which are equal on every rank, so the state stays equal on every rank.
    """

    def __init__(self, *, scale: float) -> None:
        super().__init__()
        self.scale = above("scale", scale, 0.0)

    @property
    def logit_bound(self) -> float:
        """No logit exceeds this, so the softmax needs no running maximum."""
        return self.scale

    def update(self, cos: Tensor, norm: Tensor) -> None:
        """Before a training step's logits: move the state by the global target cos [N] and norm [N]."""

    def target(self, cos: Tensor, norm: Tensor) -> Tensor:
        """Target cos [N] and embedding norm [N] -> target logit [N]."""
        raise NotImplementedError

    def negatives(self, cos: Tensor, target_cos: Tensor) -> Tensor:
        """Negative cos [N, k] and target cos [N] -> negative logits [N, k], element by element."""
        return self.scale * cos

    def regulariser(self, norm: Tensor) -> Tensor | None:
        """Embedding norm [N] -> a loss term [N] that is added to the samples' losses, or None."""
        return None

    @property
    def reweights_negatives(self) -> bool:
        return type(self).negatives is not Margin.negatives


class CombinedMargin(Margin):
    """Target logit scale·(cos(m1·theta + m2) - m3), all three margins combined.

    ArcFace, Deng et al. 2019 (arXiv:1801.07698), equation 4.

    Where the angle m1·theta + m2 passes pi the cosine would rise again and reward larger angles.
    beyond_pi="hard" continues there as cos(theta) - max(m2·sin(m2), 1 + cos(theta_pi)), where
    theta_pi = (pi - m2)/m1, for m1 = 1 ArcFace's usual continuation; it never begins with a rise.
    beyond_pi="easy" applies m1 and m2 only where cos(theta) > 0 and the angle is below pi, else neither.

    The derivative is the true one. At cos = +-1 exactly, where it is infinite for m2 > 0, the sine's
    derivative is taken as 0 to stay finite; along the unit sphere the gradient vanishes there anyway.
    margin_gradient="straight_through" keeps the value and uses the plain logit's derivative, which is what
    published ArcFace code computes.
    """

    def __init__(
        self,
        m1: float = 1.0,
        m2: float = 0.0,
        m3: float = 0.0,
        *,
        scale: float = 64.0,
        beyond_pi: str = "hard",
        margin_gradient: str = EXACT,
    ) -> None:
        super().__init__(scale=scale)
        self.m1 = at_least("m1", m1, 1.0)
        self.m2 = at_least("m2", m2, 0.0, below=math.pi)
        self.m3 = at_least("m3", m3, 0.0, below=2.0)
        self.beyond_pi = one_of("beyond_pi", beyond_pi, ("hard", "easy"))
        self.margin_gradient = one_of("margin_gradient", margin_gradient, (EXACT, STRAIGHT_THROUGH))

    def target(self, cos: Tensor, norm: Tensor) -> Tensor:
        value = self._angular(cos.clamp(-1.0, 1.0)) - self.m3
        if self.margin_gradient == STRAIGHT_THROUGH:
            value = cos + (value - cos).detach()
        return self.scale * value

    def _angular(self, cos: Tensor) -> Tensor:
        if self.m1 == 1.0 and self.m2 == 0.0:
            return cos
        sin = _sine(cos)
        if self.m1 == 1.0:
            inside = cos * math.cos(self.m2) - sin * math.sin(self.m2)
        else:
            inside = torch.cos(self.m1 * torch.atan2(sin, cos) + self.m2)
        cos_at_pi = math.cos((math.pi - self.m2) / self.m1)
        if self.beyond_pi == "easy":
            return torch.where((cos > 0.0) & (cos > cos_at_pi), inside, cos)
        return torch.where(cos > cos_at_pi, inside, cos - max(self.m2 * math.sin(self.m2), 1.0 + cos_at_pi))

    def extra_repr(self) -> str:
        return f"m1={self.m1}, m2={self.m2}, m3={self.m3}, scale={self.scale}, beyond_pi={self.beyond_pi}"


class ArcFace(CombinedMargin):
    """Target logit scale·cos(theta + margin), margin in radians.

    Deng et al. 2019 (arXiv:1801.07698), equation 3.
    """

    def __init__(
        self,
        *,
        scale: float = 64.0,
        margin: float = 0.5,
        beyond_pi: str = "hard",
        margin_gradient: str = EXACT,
    ) -> None:
        margin = at_least("margin", margin, 0.0, below=math.pi)
        super().__init__(1.0, margin, 0.0, scale=scale, beyond_pi=beyond_pi, margin_gradient=margin_gradient)


class CosFace(CombinedMargin):
    """Target logit scale·(cos(theta) - margin). Wang et al. 2018 (arXiv:1801.09414), equation 4."""

    def __init__(self, *, scale: float = 64.0, margin: float = 0.35, margin_gradient: str = EXACT) -> None:
        margin = at_least("margin", margin, 0.0, below=2.0)
        super().__init__(1.0, 0.0, margin, scale=scale, margin_gradient=margin_gradient)


class NormalizedSoftmax(CombinedMargin):
    """No margin: target logit scale·cos(theta). NormFace, Wang et al. 2017 (arXiv:1704.06369)."""

    def __init__(self, *, scale: float = 64.0, margin_gradient: str = EXACT) -> None:
        super().__init__(1.0, 0.0, 0.0, scale=scale, margin_gradient=margin_gradient)


def _sine(cos: Tensor) -> Tensor:
    """sin(theta) >= 0 of cos(theta) in [-1, 1], with derivative 0 instead of infinity at +-1."""
    square = (1.0 - cos) * (1.0 + cos)
    inside = square > 0.0
    return torch.where(inside, torch.where(inside, square, 1.0).sqrt(), 0.0)
