"""The list losses: one variant for each loss that is added to the head's."""

import math
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, model_validator

from partialfc.config.section import LARGEST_WEIGHT, Section


class _LossConfig(Section):
    """What every loss beside the head has. Built by training/builders/losses.py, `build_losses`."""

    name: str  # declared here to come first in a saved config
    weight: float = Field(
        ge=0,
        le=LARGEST_WEIGHT,
        description="What its value is multiplied by in the sum with the head's loss; 0: it is computed and "
        "logged, and trains nothing.",
    )


class CenterLossConfig(_LossConfig):
    """Embeddings come to the centre of their class, Wen et al. 2016."""

    name: Literal["center"] = Field(description="Which loss.")
    centres: Literal["own", "head"] = Field(
        "own",
        description="Which centres. own: the moving means of the classes, apart from the head's; head: the "
        "head's, by their direction alone, which get no gradient of it.",
    )
    alpha: float | None = Field(
        None,
        gt=0,
        le=1,
        description="How far a centre of its own moves to the mean of its samples in a batch; null: 0.5, and "
        "with centres: head.",
    )
    normalise: bool = Field(
        False, description="Take embeddings with norm 1; with centres: head they always are."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.centres == "head" and self.alpha is not None:
            raise ValueError(f"alpha is {self.alpha}, but only centres: own move by it; leave it out")
        return self


class ContrastiveLossConfig(_LossConfig):
    """Pairs of one class come together, other pairs stay a distance apart, Hadsell et al. 2006."""

    name: Literal["contrastive"] = Field(description="Which loss.")
    margin: float = Field(
        1.0, gt=0, description="How far apart samples of two classes are to be; with normalise at most 2."
    )
    normalise: bool = Field(
        True, description="Measure between embeddings of norm 1, whose distances are 0..2."
    )
    balanced: bool = Field(
        False,
        description="Take the mean over pairs of one class and that over the others apart, and add the two.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.normalise and self.margin > 2:
            raise ValueError(
                f"margin is {self.margin:g}, but between embeddings of norm 1 no distance is above 2: lower "
                "it, or set normalise: false"
            )
        return self


class AngularContrastiveLossConfig(_LossConfig):
    """The same with angles, the distances on the sphere (AMC), Choi et al. 2020."""

    name: Literal["angular_contrastive"] = Field(description="Which loss.")
    margin: float = Field(
        0.5, gt=0, le=math.pi, description="Angle that samples of two classes are to have, in radians."
    )
    balanced: bool = Field(
        False,
        description="Take the mean over pairs of one class and that over the others apart, and add the two.",
    )


class TripletLossConfig(_LossConfig):
    """An anchor is nearer to its own class than to any other, by a margin."""

    name: Literal["triplet"] = Field(description="Which loss.")
    mining: Literal["all", "hard", "semihard"] = Field(
        "hard",
        description="Which triplets. all: those that are not 0; hard: each anchor with its farthest positive "
        "and nearest negative (both Hermans et al. 2017); semihard: each anchor and positive with the "
        "nearest negative beyond it (Schroff et al. 2015).",
    )
    margin: float = Field(0.2, gt=0, description="How much nearer.")
    normalise: bool = Field(
        True, description="Measure between embeddings of norm 1, whose distances are 0..2."
    )


LossConfig = Annotated[
    CenterLossConfig | ContrastiveLossConfig | AngularContrastiveLossConfig | TripletLossConfig,
    Discriminator("name"),
]


def _check_list(value: object) -> object:
    if not isinstance(value, list | tuple):
        raise ValueError("must be a list such as [{name: triplet, weight: 1.0}]")
    return tuple(value)


def _check_names(losses: tuple[LossConfig, ...]) -> tuple[LossConfig, ...]:
    names = [loss.name for loss in losses]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"each loss may be there once, and {name} is there {names.count(name)} times")
    return losses


LossConfigs = Annotated[tuple[LossConfig, ...], BeforeValidator(_check_list), AfterValidator(_check_names)]
