"""SphereFace and LargeMarginSoftmax: the target's angle is multiplied, and the embedding's norm stays."""

import math

import torch
from torch import Tensor

from partialfc.head.arguments import at_least, one_of, whole
from partialfc.head.margins.angles import straight_through
from partialfc.head.margins.base import EXACT, STRAIGHT_THROUGH, Margin
from partialfc.head.margins.samples import Samples
from partialfc.head.margins.softmax import norms

FACTORS = (1, 2, 3, 4)  # of the angle


def psi(cos: Tensor, m: int) -> Tensor:
    """(-1)^k·cos(m·theta) - 2k, where theta lies in [k·pi/m, (k + 1)·pi/m]: it falls as theta grows.

    Liu et al. 2016 (arXiv:1612.02295), equation 6. cos(m·theta) as a polynomial of the cosine, so the
    derivative is finite everywhere, 0 at the ends of the pieces.

    Args:
        cos (Tensor): [N], the cosine of theta, in [-1, 1].
        m (int): At least 1.

    Returns:
        Tensor: [N], from 1 at theta = 0 to 1 - 2m at pi.
    """
    before, multiple = torch.ones_like(cos), cos
    for _ in range(m - 1):
        before, multiple = multiple, 2.0 * cos * multiple - before
    k = torch.zeros_like(cos)
    for piece in range(1, m):
        k = k + (cos <= math.cos(piece * math.pi / m)).to(cos.dtype)
    sign = 1.0 - 2.0 * k.remainder(2.0)
    return sign * multiple - 2.0 * k


class _Multiplied(Margin):
    """Target logit (lambda·cos(theta) + psi(theta)) / (1 + lambda) times norms, see SphereFace."""

    normalises_embeddings = False

    def __init__(
        self, m: int, *, lambda_min: float, lambda_base: float, lambda_gamma: float, margin_gradient: str
    ) -> None:
        super().__init__(scale=1.0)
        self.m = one_of("m", whole("m", m, least=1), FACTORS)
        self.lambda_min = at_least("lambda_min", lambda_min, 0.0)
        self.lambda_base = at_least("lambda_base", lambda_base, 0.0)
        self.lambda_gamma = at_least("lambda_gamma", lambda_gamma, 0.0)
        self.margin_gradient = one_of("margin_gradient", margin_gradient, (EXACT, STRAIGHT_THROUGH))

    def weight_at(self, step: int) -> float:
        """lambda: the weight of the plain cosine beside psi, whose weight is 1."""
        return max(self.lambda_min, self.lambda_base / (1.0 + self.lambda_gamma * step))

    def target(self, samples: Samples) -> Tensor:
        cos, weight = samples.cos, self.weight_at(samples.step)
        value = (weight * cos + psi(cos.clamp(-1.0, 1.0), self.m)) / (1.0 + weight)
        if self.margin_gradient == STRAIGHT_THROUGH:
            value = straight_through(value, cos)
        return norms(samples) * value

    def extra_repr(self) -> str:
        return (
            f"m={self.m}, lambda_min={self.lambda_min}, lambda_base={self.lambda_base}, "
            f"lambda_gamma={self.lambda_gamma}, margin_gradient={self.margin_gradient}"
        )


class SphereFace(_Multiplied):
    """Target logit ‖x‖·(lambda·cos(theta) + psi(theta)) / (1 + lambda), ‖x‖ the embedding's norm.

    A-Softmax: centres count by their direction alone. psi(theta) = (-1)^k·cos(m·theta) - 2k, theta in
    [k·pi/m, (k + 1)·pi/m]. lambda = max(lambda_min, lambda_base / (1 + lambda_gamma · step)): the margin
    comes in slowly; the step counts the head's training forwards, and a resume goes on counting. Liu et al.
    2017 (arXiv:1704.08063), equation 7, and lambda as in its appendix G.

    Args:
        m (int): The factor of the angle: 1, which is ModifiedSoftmax, to 4. Default 4.
        lambda_min (float): The smallest lambda, at least 0. Default 5.
        lambda_base (float): lambda at step 0, at least 0; 0 leaves lambda_min throughout. Default 1000.
        lambda_gamma (float): How fast it falls, at least 0. Default 0.12.
        margin_gradient (str): "exact" (default), or "straight_through": the same value, and the derivative by
            the cosine as if there were no margin, which is what OpenSphere computes.

    Raises:
        ValueError: for an argument of another type or out of its range.
    """

    def __init__(
        self,
        m: int = 4,
        *,
        lambda_min: float = 5.0,
        lambda_base: float = 1000.0,
        lambda_gamma: float = 0.12,
        margin_gradient: str = EXACT,
    ) -> None:
        super().__init__(
            m,
            lambda_min=lambda_min,
            lambda_base=lambda_base,
            lambda_gamma=lambda_gamma,
            margin_gradient=margin_gradient,
        )


class LargeMarginSoftmax(_Multiplied):
    """Target logit ‖w‖·‖x‖·(lambda·cos(theta) + psi(theta)) / (1 + lambda), both norms kept; no bias.

    psi(theta) = (-1)^k·cos(m·theta) - 2k, theta in [k·pi/m, (k + 1)·pi/m]. lambda falls as SphereFace's does,
    and is 0 by default. L-Softmax, Liu et al. 2016 (arXiv:1612.02295), equations 4 and 6, with lambda as in
    its section 5.1.

    Args:
        m (int): The factor of the angle: 1, which is Softmax, to 4. Default 4.
        lambda_min (float): The smallest lambda, at least 0. Default 0.
        lambda_base (float): lambda at step 0, at least 0. Default 0.
        lambda_gamma (float): How fast it falls, at least 0. Default 0.
        margin_gradient (str): "exact" (default) or "straight_through", see SphereFace.

    Raises:
        ValueError: for an argument of another type or out of its range.
    """

    normalises_centres = False

    def __init__(
        self,
        m: int = 4,
        *,
        lambda_min: float = 0.0,
        lambda_base: float = 0.0,
        lambda_gamma: float = 0.0,
        margin_gradient: str = EXACT,
    ) -> None:
        super().__init__(
            m,
            lambda_min=lambda_min,
            lambda_base=lambda_base,
            lambda_gamma=lambda_gamma,
            margin_gradient=margin_gradient,
        )
