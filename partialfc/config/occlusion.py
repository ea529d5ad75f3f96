"""The objective `occlusion`: parts of the images are hidden while the backbone learns."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from partialfc.config.section import LARGEST_WEIGHT, Section

Way = Literal["region", "half", "random_half"]
Point = tuple[float, float]


def _check_ways(ways: tuple[Way, ...]) -> tuple[Way, ...]:
    if not ways or len({*ways}) < len(ways):
        raise ValueError("must list one or more of region, half, random_half, each once")
    return ways


def _check_list(value: object) -> object:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ValueError("must be a list")
    return value


def _check_points(value: object) -> object:
    if value is None:
        return None
    points = value if isinstance(value, Sequence) and not isinstance(value, str) else ()
    if not points or not all(_is_point(each) for each in points):
        raise ValueError(
            "must list points [x, y], each number in 0..1, such as [[0.35, 0.4], [0.65, 0.4]]; null for "
            "regions around every cell"
        )
    return value


def _is_point(value: object) -> bool:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        return False
    numbers = [each for each in value if isinstance(each, (int, float)) and not isinstance(each, bool)]
    return len(numbers) == 2 and all(0 <= each <= 1 for each in numbers)


class OcclusionConfig(Section):
    """The margin softmax and the losses beside it, with parts of the feature map or the image hidden.

    Built by training/builders/objectives.py, `build_occlusion`.
    """

    name: Literal["occlusion"] = Field(description="Which objective.")
    at: Literal["map", "image"] = Field(
        "image",
        description="Where a mask hides. image: the pixels under its cells get one random level, and the "
        "backbone runs a second time; map: the cells of the last feature map become 0.",
    )
    ways: Annotated[
        tuple[Way, ...], Field(strict=False), BeforeValidator(_check_list), AfterValidator(_check_ways)
    ] = Field(
        ("region", "half", "random_half"),
        description="Which masks there are, one way drawn for each image. region: around a cell or a "
        "landmark; half: left, right, top or bottom; random_half: half of the cells, drawn at random.",
    )
    size: float = Field(0.5, gt=0, le=1, description="The sides of a region, as a share of the image's.")
    landmarks: Annotated[
        tuple[Annotated[Point, Field(strict=False)], ...] | None,
        Field(strict=False),
        BeforeValidator(_check_points),
    ] = Field(
        None,
        description="Points [x, y] that regions lie around, each number a share of the image from the left "
        "and from the top; null: around any cell.",
    )
    share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="How many of the masked copies have a mask, drawn anew in each step; the more, the more "
        "unmasked images lose.",
    )
    unmasked: bool = Field(
        True,
        description="Learn each image without a mask too, beside its masked copy: the head sees twice the "
        "samples of a batch.",
    )
    adversary: float = Field(
        1.0,
        ge=0,
        le=LARGEST_WEIGHT,
        description="How fast the generator learns to choose masks that raise the loss, as a factor of its "
        "gradient; 0: masks stay almost random.",
    )
    segmentation: float = Field(
        0.1,
        ge=0,
        le=LARGEST_WEIGHT,
        description="The weight of the loss of the branch that predicts the hidden cells.",
    )
    hidden: int = Field(32, ge=1, description="Channels within the generator and the branch.")

    @model_validator(mode="after")
    def _check_landmarks(self) -> Self:
        if self.landmarks is not None and "region" not in self.ways:
            raise ValueError(
                f"landmarks must be null without region among ways, got ways {', '.join(self.ways)}; only "
                "regions lie around landmarks"
            )
        return self
