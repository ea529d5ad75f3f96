"""Functions of the target's angle that several families of margins share."""

import math

import torch
from torch import Tensor

from partialfc.head.margins.base import sine


def angular(cos: Tensor, m2: float | Tensor, *, m1: float = 1.0, beyond_pi: str = "hard") -> Tensor:
    """cos(m1·theta + m2), and what `beyond_pi` says where that angle passes pi, see CombinedMargin.

    Args:
        cos (Tensor): [N], the cosine of theta, in [-1, 1].
        m2 (float | Tensor): In [0, pi]; of all, or [N] of each.
        m1 (float): At least 1.
        beyond_pi (str): "hard" or "easy".

    Returns:
        Tensor: [N], with finite derivatives by `cos` and `m2` everywhere.
    """
    if m1 == 1.0 and not isinstance(m2, Tensor) and m2 == 0.0:
        return cos
    sin = sine(cos)
    if m1 == 1.0:
        cos_m2, sin_m2 = cos_and_sin(m2)
        inside = cos * cos_m2 - sin * sin_m2
    else:
        inside = torch.cos(m1 * torch.atan2(sin, cos) + m2)
    cos_at_pi, _ = cos_and_sin((math.pi - m2) / m1)
    if beyond_pi == "easy":
        return torch.where((cos > 0.0) & (cos > cos_at_pi), inside, cos)
    return torch.where(cos > cos_at_pi, inside, cos - _offset(m2, cos_at_pi))


def cos_and_sin(angle: float | Tensor) -> tuple[float | Tensor, float | Tensor]:
    """Of one number without torch: nothing to compute for each sample."""
    if isinstance(angle, Tensor):
        return angle.cos(), angle.sin()
    return math.cos(angle), math.sin(angle)


def straight_through(value: Tensor, cos: Tensor) -> Tensor:
    """`value` [N] with the derivative 1 by `cos` [N], as if there were no margin."""
    return cos + (value - cos).detach()


def _offset(m2: float | Tensor, cos_at_pi: float | Tensor) -> float | Tensor:
    """What is taken from the cosine beyond pi."""
    if isinstance(m2, Tensor):
        return torch.maximum(m2 * m2.sin(), 1.0 + torch.as_tensor(cos_at_pi))
    return max(m2 * math.sin(m2), 1.0 + float(cos_at_pi))
