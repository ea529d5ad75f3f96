"""ElasticFace: the margin of each sample is drawn anew in each step."""

import math

import torch
from torch import Tensor

from partialfc.head.arguments import at_least, one_of
from partialfc.head.margins.angles import angular, straight_through
from partialfc.head.margins.base import EXACT, STRAIGHT_THROUGH, Margin
from partialfc.head.margins.samples import Samples

LARGEST = {"arcface": math.pi, "cosface": 2.0}


class ElasticFace(Margin):
    """Target logit scale·cos(theta + m) or scale·(cos(theta) - m), m drawn anew for each sample.

    m is normal, and a function of (seed, step, place in the global batch): the same at any number of ranks,
    and after a resume. Boutros et al. 2022 (arXiv:2109.09416), equation 6 (ElasticFace-Arc) and 7
    (ElasticFace-Cos); beyond pi the value goes on as ArcFace's does, `beyond_pi="hard"` of CombinedMargin.

    Args:
        base (str): "arcface" (default) or "cosface": what the margin is added to, or taken from.
        scale (float): Above 0. Default 64.
        mean (float): Of the margins: in [0, pi) radians for "arcface", in [0, 2) for "cosface". Default 0.5.
        std (float): Their standard deviation, at least 0. Default 0.05. A draw below 0 counts as 0, and one
            above pi, or 2 for "cosface", as that.
        plus (bool): ElasticFace+: the same draws, in the order of the target cosines: the largest margin to
            the sample that is farthest from its centre, as the paper describes. Its published code looks the
            sorted draws up by that order in place of its inverse, so there they mostly go elsewhere. Default
            False.
        margin_gradient (str): "exact" (default) or "straight_through", see CombinedMargin.

    Raises:
        ValueError: for an argument of another type or out of its range.
    """

    def __init__(
        self,
        base: str = "arcface",
        *,
        scale: float = 64.0,
        mean: float = 0.5,
        std: float = 0.05,
        plus: bool = False,
        margin_gradient: str = EXACT,
    ) -> None:
        super().__init__(scale=scale)
        self.base = one_of("base", base, tuple(LARGEST))
        self.mean = at_least("mean", mean, 0.0, below=LARGEST[self.base])
        self.std = at_least("std", std, 0.0)
        self.plus = one_of("plus", plus, (False, True))
        self.margin_gradient = one_of("margin_gradient", margin_gradient, (EXACT, STRAIGHT_THROUGH))

    def target(self, samples: Samples) -> Tensor:
        cos, margins = samples.cos, self.margins(samples)
        held = cos.clamp(-1.0, 1.0)
        value = angular(held, margins) if self.base == "arcface" else held - margins
        if self.margin_gradient == STRAIGHT_THROUGH:
            value = straight_through(value, cos)
        return self.scale * value

    def margins(self, samples: Samples) -> Tensor:
        """[N], each sample's own, drawn for this step."""
        drawn = (self.mean + self.std * samples.normal()).clamp(0.0, LARGEST[self.base])
        if not self.plus:
            return drawn
        nearest_first = torch.argsort(samples.cos.detach(), descending=True, stable=True)
        return torch.empty_like(drawn).scatter(0, nearest_first, drawn.sort().values)

    def extra_repr(self) -> str:
        return (
            f"base={self.base}, scale={self.scale}, mean={self.mean}, std={self.std}, plus={self.plus}, "
            f"margin_gradient={self.margin_gradient}"
        )
