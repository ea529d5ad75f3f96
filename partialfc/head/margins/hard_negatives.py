"""MVSoftmax and CurricularFace: negatives closer than the target with its margin weigh more."""

import torch
from torch import Tensor

from partialfc.head.arguments import above, at_least, one_of
from partialfc.head.margins.averages import moving_average
from partialfc.head.margins.base import EXACT, Margin
from partialfc.head.margins.combined import ArcFace, CombinedMargin
from partialfc.head.margins.samples import Samples


def target_with_margin(margin: Margin, samples: Samples) -> Tensor:
    """The target's cosine after its margin [N], above which a negative is hard. Has no derivative."""
    return margin.target(samples).detach() / margin.scale


class MVSoftmax(Margin):
    """The base's target, and logit scale·(cos(theta) + t) for negatives above the target's margin cosine.

    Mis-classified vectors: the centres of other classes that are closer than the target, its margin included.
    Wang et al. 2020 (arXiv:1912.00833), the loss MV-Softmax with its re-weighting function h; with a
    NormalizedSoftmax as the base it is the SV-Softmax that it came from.

    Args:
        base (CombinedMargin): What gives the target's logit, and the scale: ArcFace, CosFace, CombinedMargin
            or NormalizedSoftmax. Its `margin_gradient` and class margins hold.
        t (float): What is added to such a cosine, at least 0. Default 0.2.
        adaptive (bool): More for the closer ones: (t + 1)·cos(theta) + t. Default False.

    Raises:
        ValueError: for an argument of another type or out of its range.
    """

    def __init__(self, base: CombinedMargin, *, t: float = 0.2, adaptive: bool = False) -> None:
        if not isinstance(base, CombinedMargin) or base.reweights_negatives:
            raise ValueError(
                f"base is {base!r}; it must be an ArcFace, CosFace, CombinedMargin or NormalizedSoftmax, "
                "such as ArcFace(margin=0.5)"
            )
        super().__init__(scale=base.scale)
        self.base = base
        self.t = at_least("t", t, 0.0)
        self.adaptive = one_of("adaptive", adaptive, (False, True))
        self.compiles, self.takes_class_margins = base.compiles, base.takes_class_margins
        self.class_margins_rule = base.class_margins_rule
        self.largest_class_margin = base.largest_class_margin

    @property
    def logit_bound(self) -> float:
        return self.scale * (1.0 + (2.0 * self.t if self.adaptive else self.t))

    def target(self, samples: Samples) -> Tensor:
        return self.base.target(samples)

    def prepare(self, samples: Samples) -> Tensor:
        return target_with_margin(self.base, samples)

    def negatives(self, cos: Tensor, samples: Samples) -> Tensor:
        assert samples.prepared is not None
        raised = (self.t + 1.0) * cos + self.t if self.adaptive else cos + self.t
        return self.scale * torch.where(cos > samples.prepared, raised, cos)

    def extra_repr(self) -> str:
        return f"t={self.t}, adaptive={self.adaptive}"


class CurricularFace(ArcFace):
    """Target logit scale·cos(theta + margin), and scale·cos(theta)·(t + cos(theta)) for negatives above it.

    Above it is a cosine larger than the target's after its margin, which is ArcFace's. t starts at 0 and
    follows the mean target cosine, so that hard negatives weigh little at first and much in the end. Huang et
    al. 2020 (arXiv:2004.00288), section 3.2: the functions T (targets) and N (negatives), and equation 9, the
    moving average t.

    Args:
        scale (float): Above 0. Default 64.
        margin (float): What is added to the target's angle, in radians, in [0, pi). Default 0.5. The
            `class_margins` of a head replace it.
        momentum (float): The part of a batch in t, in (0, 1]: before a step's logits
            t <- momentum · (mean target cosine of the global batch) + (1 - momentum) · t. Default 0.01, as in
            the published code; the paper has 0.99 in this place.

    Attributes:
        t (Tensor): [], in [-1, 1], the same on every rank; saved with the head.

    Raises:
        ValueError: for an argument of another type or out of its range.
    """

    t: Tensor
    compiles = False

    def __init__(self, *, scale: float = 64.0, margin: float = 0.5, momentum: float = 0.01) -> None:
        super().__init__(scale=scale, margin=margin, margin_gradient=EXACT)
        self.momentum = above("momentum", momentum, 0.0, at_most=1.0)
        self.register_buffer("t", torch.zeros((), dtype=torch.float64))

    @property
    def logit_bound(self) -> float:
        return 2.0 * self.scale

    def update(self, samples: Samples) -> None:
        if len(samples.cos):
            self.t = moving_average(self.t, samples.cos.mean(), self.momentum)

    def prepare(self, samples: Samples) -> Tensor:
        return target_with_margin(self, samples)

    def negatives(self, cos: Tensor, samples: Samples) -> Tensor:
        assert samples.prepared is not None
        return self.scale * torch.where(cos > samples.prepared, cos * (self.t + cos), cos)

    def extra_repr(self) -> str:
        return f"scale={self.scale}, margin={self.m2}, momentum={self.momentum}"
