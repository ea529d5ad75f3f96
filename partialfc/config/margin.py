"""The section head.margin: one variant per margin."""

import math
from typing import Annotated, Literal

from pydantic import Discriminator, Field

from partialfc.config.section import Section, default_variant


class _MarginConfig(Section):
    name: str  # declared here to come first in a saved config
    scale: float = Field(64.0, gt=0, description="Factor s of the cosine: logits lie within -s..s.")
    margin_gradient: Literal["exact", "straight_through"] = Field(
        "exact",
        description="exact: the margin's true derivative; straight_through: the plain logit's, as published.",
    )


class _AngularConfig(_MarginConfig):
    beyond_pi: Literal["hard", "easy"] = Field(
        "hard",
        description="Where the angle with its margin passes pi. hard: continue linearly; easy: no margin.",
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
