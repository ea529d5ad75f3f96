"""The section head.margin: one variant for each margin."""

import math
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, model_validator

from partialfc.config.section import LARGEST_WEIGHT, Section, default_variant

LAMBDA_MIN = "Smallest lambda: the weight of the plain cosine beside the margin's value, whose weight is 1."
LAMBDA_BASE = (
    "lambda in step 0; in step s it is lambda_base / (1 + lambda_gamma·s), at least lambda_min. Each "
    "micro-batch is a step here."
)
LAMBDA_GAMMA = "How fast lambda falls."


class _MarginConfig(Section):
    """What every margin has. Built by training/builders/head.py, `build_margin`."""

    name: str  # declared here to come first in a saved config


class _ScaledConfig(_MarginConfig):
    scale: float = Field(64.0, gt=0, description="Factor s of the cosine: logits lie between -s and s.")


class _ExactOrNotConfig(_MarginConfig):
    margin_gradient: Literal["exact", "straight_through"] = Field(
        "exact",
        description="Derivative of the target's logit. exact: the true one; straight_through: that of the "
        "logit without the margin, as in published recipes.",
    )


class _PlainConfig(_ExactOrNotConfig, _ScaledConfig):
    pass


class _AngularConfig(_PlainConfig):
    beyond_pi: Literal["hard", "easy"] = Field(
        "hard",
        description="What to do where the angle with its margin passes pi. hard: subtract a constant from "
        "the cosine instead; easy: add no margin to the angle there, nor where the cosine is negative.",
    )


class ArcFaceConfig(_AngularConfig):
    """cos(theta + margin), Deng et al. 2019."""

    name: Literal["arcface"] = Field("arcface", description="Which margin.")
    margin: float = Field(0.5, ge=0, lt=math.pi, description="Angle added to the target's, in radians.")


class CosFaceConfig(_PlainConfig):
    """cos(theta) - margin, Wang et al. 2018."""

    name: Literal["cosface"] = Field(description="Which margin.")
    margin: float = Field(0.35, ge=0, lt=2, description="Subtracted from the target's cosine.")


class NormalizedSoftmaxConfig(_PlainConfig):
    """cos(theta): no margin, Wang et al. 2017."""

    name: Literal["normalized_softmax"] = Field(description="Which margin.")


class CombinedConfig(_AngularConfig):
    """cos(m1·theta + m2) - m3, Deng et al. 2019."""

    name: Literal["combined"] = Field(description="Which margin.")
    m1: float = Field(1.0, ge=1, description="Factor of the target's angle.")
    m2: float = Field(0.5, ge=0, lt=math.pi, description="Angle added to the target's, in radians.")
    m3: float = Field(0.0, ge=0, lt=2, description="Subtracted from the target's cosine.")


BaseConfig = Annotated[
    ArcFaceConfig | CosFaceConfig | NormalizedSoftmaxConfig | CombinedConfig,
    Discriminator("name"),
    default_variant("arcface"),
]


class MVSoftmaxConfig(_MarginConfig):
    """The base's target; cos(theta) + t for negatives above it, Wang et al. 2020."""

    name: Literal["mv_softmax"] = Field(description="Which margin.")
    base: BaseConfig = Field(ArcFaceConfig(), description="The margin of the target, and the scale.")
    t: float = Field(0.2, ge=0, description="Added to a negative's cosine that is above the target's.")
    adaptive: bool = Field(False, description="Take (t + 1)·cos(theta) + t there, more for closer negatives.")


class CurricularFaceConfig(_ScaledConfig):
    """cos(theta + margin); cos(theta)·(t + cos(theta)) for negatives above it, Huang et al. 2020."""

    name: Literal["curricularface"] = Field(description="Which margin.")
    margin: float = Field(0.5, ge=0, lt=math.pi, description="Angle added to the target's, in radians.")
    momentum: float = Field(
        0.01, gt=0, le=1, description="Part of a batch's mean target cosine in its moving average t."
    )


class MagFaceConfig(_ScaledConfig):
    """cos(theta + m(a)), m a line in the embedding's norm a, and a regulariser of a, Meng et al. 2021."""

    name: Literal["magface"] = Field(description="Which margin.")
    l_a: float = Field(10.0, gt=0, description="Smallest norm; a shorter embedding counts as this.")
    u_a: float = Field(110.0, gt=0, description="Largest norm, above l_a; a longer one counts as this.")
    l_m: float = Field(0.45, ge=0, lt=math.pi, description="Angle added at norm l_a, in radians.")
    u_m: float = Field(0.8, ge=0, lt=math.pi, description="Angle added at norm u_a, at least l_m.")
    lambda_g: float = Field(
        20.0,
        ge=0,
        le=LARGEST_WEIGHT,
        description="Weight of the regulariser 1/a + a/u_a². Below the paper's bound, "
        "scale·(u_m - l_m)/(u_a - l_a)·l_a²·u_a²/(u_a² - l_a²), norms may stay at l_a, and a warning says "
        "so. With the other defaults the bound is 22.6, so the default of 20 warns too; the paper took 35.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.u_a <= self.l_a:
            raise ValueError(f"u_a is {self.u_a:g}; it must be above l_a, which is {self.l_a:g}")
        if self.u_m < self.l_m:
            raise ValueError(f"u_m is {self.u_m:g}; it must be at least l_m, which is {self.l_m:g}")
        return self


class AdaFaceConfig(_ScaledConfig):
    """cos(theta - margin·z) - margin - margin·z, z from the embedding's norm, Kim et al. 2022."""

    name: Literal["adaface"] = Field(description="Which margin.")
    margin: float = Field(0.4, ge=0, lt=1, description="The m of both margins, of the angle and the cosine.")
    h: float = Field(0.333, gt=0, description="How fast z grows with the norm: h standard deviations of it.")
    momentum: float = Field(
        0.01, gt=0, le=1, description="Part of a batch in the moving averages of the norm and its deviation."
    )


class ElasticFaceConfig(_PlainConfig):
    """cos(theta + m) or cos(theta) - m, m drawn for each sample in each step, Boutros et al. 2022."""

    name: Literal["elasticface"] = Field(description="Which margin.")
    base: Literal["arcface", "cosface"] = Field(
        "arcface", description="arcface: m is added to the angle; cosface: it is taken from the cosine."
    )
    mean: float = Field(0.5, ge=0, lt=math.pi, description="Mean of the margins; below 2 with base: cosface.")
    std: float = Field(0.05, ge=0, description="Standard deviation of the margins.")
    plus: bool = Field(
        False, description="Give the largest of a batch's margins to the samples farthest from their centres."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.base == "cosface" and self.mean >= 2:
            raise ValueError(f"mean is {self.mean:g}; with base: cosface it must be below 2")
        return self


class SoftmaxConfig(_MarginConfig):
    """‖w‖·‖x‖·cos(theta), the inner product of centre and embedding."""

    name: Literal["softmax"] = Field(description="Which margin.")
    bias: bool = Field(False, description="Train a bias for each class with the centres.")


class ModifiedSoftmaxConfig(_MarginConfig):
    """‖x‖·cos(theta), ‖x‖ the embedding's norm, Liu et al. 2017."""

    name: Literal["modified_softmax"] = Field(description="Which margin.")


class _MultipliedConfig(_ExactOrNotConfig):
    m: int = Field(4, ge=1, le=4, description="Factor of the target's angle.")
    lambda_min: float = Field(0.0, ge=0, description=LAMBDA_MIN)
    lambda_base: float = Field(0.0, ge=0, description=LAMBDA_BASE)
    lambda_gamma: float = Field(0.0, ge=0, description=LAMBDA_GAMMA)


class SphereFaceConfig(_MultipliedConfig):
    """‖x‖·cos(m·theta), continued so that it falls, and annealed, Liu et al. 2017."""

    name: Literal["sphereface"] = Field(description="Which margin.")
    lambda_min: float = Field(5.0, ge=0, description=LAMBDA_MIN)
    lambda_base: float = Field(1000.0, ge=0, description=LAMBDA_BASE)
    lambda_gamma: float = Field(0.12, ge=0, description=LAMBDA_GAMMA)


class LargeMarginSoftmaxConfig(_MultipliedConfig):
    """‖w‖·‖x‖·cos(m·theta), continued so that it falls, Liu et al. 2016."""

    name: Literal["large_margin_softmax"] = Field(description="Which margin.")


MarginConfig = Annotated[
    ArcFaceConfig
    | CosFaceConfig
    | NormalizedSoftmaxConfig
    | CombinedConfig
    | MVSoftmaxConfig
    | CurricularFaceConfig
    | MagFaceConfig
    | AdaFaceConfig
    | ElasticFaceConfig
    | SoftmaxConfig
    | ModifiedSoftmaxConfig
    | SphereFaceConfig
    | LargeMarginSoftmaxConfig,
    Discriminator("name"),
    default_variant("arcface"),
]


def keeps_centre_norms(margin: MarginConfig) -> bool:
    """Whether a centre's norm counts in its logits; the same as `Margin.normalises_centres`, negated."""
    return margin.name in ("softmax", "large_margin_softmax")


def has_bound(margin: MarginConfig) -> bool:
    """Whether no logit exceeds a number; the same as a finite `Margin.logit_bound`."""
    return margin.name not in ("softmax", "modified_softmax", "sphereface", "large_margin_softmax")


def reweights_negatives(margin: MarginConfig) -> bool:
    """Whether negatives have other logits than scale · cos; the same as `Margin.reweights_negatives`."""
    return margin.name in ("mv_softmax", "curricularface")


def has_bias(margin: MarginConfig) -> bool:
    """Whether each class has a bias; the same as `Margin.bias`."""
    return isinstance(margin, SoftmaxConfig) and margin.bias


def takes_class_margins(margin: MarginConfig | BaseConfig) -> bool:
    """Whether a class may have a margin of its own; the same as `Margin.takes_class_margins`."""
    return why_no_class_margins(margin) is None


def why_no_class_margins(margin: MarginConfig | BaseConfig, key: str = "margin") -> str | None:
    """Why a class cannot have a margin of its own, and what to do; None where it can. key: the section's."""
    if isinstance(margin, MVSoftmaxConfig):
        return why_no_class_margins(margin.base, f"{key}.base")
    if isinstance(margin, CombinedConfig):
        if (margin.m2 > 0) != (margin.m3 > 0):
            return None
        what = "both are" if margin.m2 > 0 else "neither is"
        return (
            f"which takes the place of m2 or m3 of {key}.name: combined: exactly one of these must be above "
            f"0, and {what} (m2: {margin.m2:g}, m3: {margin.m3:g})"
        )
    if margin.name in ("arcface", "cosface", "curricularface"):
        return None
    others = "" if key.endswith(".base") else ", curricularface, mv_softmax"
    return (
        f"but {key}.name: {margin.name} takes none: leave it out, or take arcface, cosface{others} or "
        "combined"
    )


def largest_class_margin(margin: MarginConfig | BaseConfig) -> float:
    """The end of the range of class margins; the same as `Margin.largest_class_margin`."""
    if isinstance(margin, MVSoftmaxConfig):
        return largest_class_margin(margin.base)
    if isinstance(margin, CombinedConfig):
        return 2.0 if margin.m2 == 0 < margin.m3 else math.pi
    return 2.0 if margin.name == "cosface" else math.pi
