"""The section head.margin: one variant for each margin."""

import math
from typing import Annotated, Literal

from pydantic import Discriminator, Field

from partialfc.config.section import Section, default_variant


class _MarginConfig(Section):
    """What every margin has. Built by training/builders/head.py, `build_head`."""

    name: str  # declared here to come first in a saved config
    scale: float = Field(64.0, gt=0, description="Factor s of the cosine: logits lie between -s and s.")
    margin_gradient: Literal["exact", "straight_through"] = Field(
        "exact",
        description="Derivative of the target's logit. exact: the true one; straight_through: that of the "
        "logit without the margin, as in published recipes.",
    )


class _AngularConfig(_MarginConfig):
    beyond_pi: Literal["hard", "easy"] = Field(
        "hard",
        description="What to do where the angle with its margin passes pi. hard: subtract a constant from "
        "the cosine instead; easy: add no margin to the angle there, nor where the cosine is negative.",
    )


class ArcFaceConfig(_AngularConfig):
    """cos(theta + margin), Deng et al. 2019."""

    name: Literal["arcface"] = Field("arcface", description="Which margin.")
    margin: float = Field(0.5, ge=0, lt=math.pi, description="Angle added to the target's, in radians.")


class CosFaceConfig(_MarginConfig):
    """cos(theta) - margin, Wang et al. 2018."""

    name: Literal["cosface"] = Field(description="Which margin.")
    margin: float = Field(0.35, ge=0, lt=2, description="Subtracted from the target's cosine.")


class NormalizedSoftmaxConfig(_MarginConfig):
    """cos(theta): no margin, Wang et al. 2017."""

    name: Literal["normalized_softmax"] = Field(description="Which margin.")


class CombinedConfig(_AngularConfig):
    """cos(m1·theta + m2) - m3, Deng et al. 2019."""

    name: Literal["combined"] = Field(description="Which margin.")
    m1: float = Field(1.0, ge=1, description="Factor of the target's angle.")
    m2: float = Field(0.5, ge=0, lt=math.pi, description="Angle added to the target's, in radians.")
    m3: float = Field(0.0, ge=0, lt=2, description="Subtracted from the target's cosine.")


MarginConfig = Annotated[
    ArcFaceConfig | CosFaceConfig | NormalizedSoftmaxConfig | CombinedConfig,
    Discriminator("name"),
    default_variant("arcface"),
]
