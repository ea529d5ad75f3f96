"""MagFace and AdaFace: the margin of a sample depends on its embedding's norm."""

import math
import warnings

import torch
from torch import Tensor

from partialfc.head.arguments import above, at_least
from partialfc.head.margins.angles import angular
from partialfc.head.margins.averages import moving_average
from partialfc.head.margins.base import Margin, sine
from partialfc.head.margins.samples import Samples

EPSILON = 1e-3  # AdaFace's: the smallest norm, the smallest angle, and what is added to the deviation
LARGEST_NORM = 100.0


class MagFace(Margin):
    """Target logit scale·cos(theta + m(a)), and lambda_g·(1/a + a/u_a²) added to the loss of each sample.

    a is the embedding's norm, held to [l_a, u_a], and m(a) the line from (l_a, l_m) to (u_a, u_m): better
    samples get longer embeddings and a larger margin. Gradients reach the norm, where it is not held. Beyond
    pi the value goes on as ArcFace's does, `beyond_pi="hard"` of CombinedMargin. Meng et al. 2021
    (arXiv:2103.06627), the loss L_Mag, with the m and g of its experiments.

    Args:
        scale (float): Above 0. Default 64.
        l_a (float): The smallest norm; above 0. Default 10.
        u_a (float): The largest norm; above l_a. Default 110.
        l_m (float): The margin at l_a, in radians, in [0, pi). Default 0.45.
        u_m (float): The margin at u_a, in radians, at least l_m and below pi. Default 0.8.
        lambda_g (float): The weight of the regulariser, at least 0. Default 20. Below the bound of the
            paper's proof, `lambda_g_bound`, norms may stay at l_a, and a warning says so; with the default
            values that bound is 22.6, so they do warn. The paper's own runs have 35.

    Raises:
        ValueError: for an argument of another type or out of its range.
    """

    def __init__(
        self,
        *,
        scale: float = 64.0,
        l_a: float = 10.0,
        u_a: float = 110.0,
        l_m: float = 0.45,
        u_m: float = 0.8,
        lambda_g: float = 20.0,
    ) -> None:
        super().__init__(scale=scale)
        self.l_a = above("l_a", l_a, 0.0)
        self.u_a = above("u_a", u_a, self.l_a)
        self.l_m = at_least("l_m", l_m, 0.0, below=math.pi)
        self.u_m = at_least("u_m", u_m, self.l_m, below=math.pi)
        self.lambda_g = at_least("lambda_g", lambda_g, 0.0)
        if self.lambda_g < self.lambda_g_bound:
            warnings.warn(
                f"lambda_g of MagFace is {self.lambda_g:g}, below the bound of the paper's proof, "
                f"{self.lambda_g_bound:.4g} for this scale, l_a, u_a, l_m and u_m: the norms of hard samples "
                f"may stay at l_a, {self.l_a:g}",
                RuntimeWarning,
                stacklevel=2,
            )

    @property
    def lambda_g_bound(self) -> float:
        """scale · K · l_a² · u_a² / (u_a² - l_a²), K the slope of m: from there on no norm stays at l_a.

        At a = l_a the logit's part of the derivative by a is at most scale · K, and the regulariser's is
        -lambda_g · (1/l_a² - 1/u_a²) = lambda_g · g'(l_a). The paper's requirement is lambda_g >= scale · K /
        -g'(l_a).
        """
        squares = self.l_a**2, self.u_a**2
        return self.scale * self.slope * squares[0] * squares[1] / (squares[1] - squares[0])

    @property
    def slope(self) -> float:
        """dm/da, radians for one unit of the norm."""
        return (self.u_m - self.l_m) / (self.u_a - self.l_a)

    def target(self, samples: Samples) -> Tensor:
        margin = self.l_m + self.slope * (samples.norm.clamp(self.l_a, self.u_a) - self.l_a)
        return self.scale * angular(samples.cos.clamp(-1.0, 1.0), margin)

    def regulariser(self, samples: Samples) -> Tensor:
        norm = samples.norm.clamp(self.l_a, self.u_a)
        return self.lambda_g * (1.0 / norm + norm / self.u_a**2)

    def extra_repr(self) -> str:
        return (
            f"scale={self.scale}, l_a={self.l_a}, u_a={self.u_a}, l_m={self.l_m}, u_m={self.u_m}, "
            f"lambda_g={self.lambda_g}"
        )


class AdaFace(Margin):
    """Target logit scale·(cos(theta - margin·z) - margin - margin·z), z the sample's quality in [-1, 1].

    z = clip((a - mean) / (std + 0.001) · h, -1, 1), where a is the embedding's norm, held to [0.001, 100] and
    without a gradient, and mean and std are running averages over the batches. The angle theta - margin·z is
    held to [0.001, pi - 0.001]. Good samples are pushed where they are hard, bad ones where they are easy.
    Kim et al. 2022 (arXiv:2204.00964), section 3.3: equations 16 and 17 are z and the running averages, and
    18 and 19 the logit, with g_angle = -margin·z and g_add = margin·z + margin.

    Args:
        scale (float): Above 0. Default 64.
        margin (float): m, in [0, 1). Default 0.4.
        h (float): How fast z grows with the norm; above 0. About 68 % of the samples have a z between -h and
            h. Default 0.333.
        momentum (float): The part of a batch in the averages, in (0, 1]: before a step's logits each
            becomes momentum · (that of the global batch) + (1 - momentum) · itself. Default 0.01, as in the
            published code; the paper has 0.99 in this place.

    Attributes:
        mean (Tensor): [], of the norms, at first 20; the same on every rank, and saved with the head.
        std (Tensor): [], their standard deviation (n - 1), at first 100; likewise. A batch of one sample has
            none, and leaves it as it is.

    Raises:
        ValueError: for an argument of another type or out of its range.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, *, scale: float = 64.0, margin: float = 0.4, h: float = 0.333, momentum: float = 0.01
    ) -> None:
        super().__init__(scale=scale)
        self.margin = at_least("margin", margin, 0.0, below=1.0)
        self.h = above("h", h, 0.0)
        self.momentum = above("momentum", momentum, 0.0, at_most=1.0)
        self.register_buffer("mean", torch.tensor(20.0, dtype=torch.float64))
        self.register_buffer("std", torch.tensor(100.0, dtype=torch.float64))

    def update(self, samples: Samples) -> None:
        norm = _held(samples.norm)
        if len(norm):
            self.mean = moving_average(self.mean, norm.mean(), self.momentum)
        if len(norm) > 1:
            self.std = moving_average(self.std, norm.std(), self.momentum)

    def target(self, samples: Samples) -> Tensor:
        cos = samples.cos.clamp(-1.0, 1.0)
        by_quality = self.margin * self.quality(samples)
        angle = (torch.atan2(sine(cos), cos) - by_quality).clamp(EPSILON, math.pi - EPSILON)
        return self.scale * (angle.cos() - self.margin - by_quality)

    def quality(self, samples: Samples) -> Tensor:
        """z [N], in [-1, 1], without a gradient."""
        return ((_held(samples.norm) - self.mean) / (self.std + EPSILON) * self.h).clamp(-1.0, 1.0)

    def extra_repr(self) -> str:
        return f"scale={self.scale}, margin={self.margin}, h={self.h}, momentum={self.momentum}"


def _held(norm: Tensor) -> Tensor:
    """AdaFace's a [N]."""
    return norm.detach().clamp(EPSILON, LARGEST_NORM)
