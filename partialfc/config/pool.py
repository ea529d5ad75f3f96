"""The section head.pool: the class pool that stands for a head."""

from typing import Self

from pydantic import Field, model_validator

from partialfc.config.section import LARGEST_WEIGHT, Section
from partialfc.errors import ConfigError

ONLY_PARTIAL_FC = (
    "sample_rate",
    "interclass_filter",
    "logit_correction",
    "momentum_dtype",
    "gather_dtype",
    "class_weights",
    "class_margins",
    "margins_by_size",
    "unsampled",
)  # keys of the section head


class PoolConfig(Section):
    """The dynamic class pool of head.name: pool, and the gallery network that gives it its features.

    Built by training/builders/class_pool.py, `build_class_pool`.
    """

    size: float = Field(
        gt=0,
        description="Classes in the pool: a part of all, up to 1.0, or above 1 their number. At least a "
        "quarter of train.batch_size.",
    )
    momentum: float = Field(
        0.99,
        ge=0,
        lt=1,
        description="What the gallery's parameters keep of themselves in a step; the rest comes from the "
        "backbone.",
    )
    hard_negatives: int | None = Field(
        None,
        ge=1,
        description="How many of the pool's classes, the nearest ones, push an image whose own class is not "
        "in the pool, at most all of them; null: a five-thousandth of the pool, at least 3 and at most 10.",
    )
    weight: float = Field(
        1.0,
        ge=0,
        le=LARGEST_WEIGHT,
        description="Weight of the loss of such images beside the softmax.",
    )
    shard: bool = Field(
        False,
        description="Keep on each rank its part of the pool alone, and exchange embeddings; false: each rank "
        "has all of it, and exchanges features alone.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.size > 1 and not self.size.is_integer():
            raise ValueError(f"size above 1 is a number of classes, so it must be whole, got {self.size:g}")
        if 1 < self.size < (self.hard_negatives or 0):
            raise ValueError(
                f"hard_negatives is {self.hard_negatives}; it must be at most size, {self.size:g}: no more "
                "classes than the pool holds can be the nearest"
            )
        return self


def pool_size(size: float, num_classes: int) -> int:
    """`head.pool.size`, a part of all classes or a number -> their number; ConfigError for too many."""
    if size > num_classes:
        raise ConfigError(
            f"head.pool.size is {size:,.0f}, more than the {num_classes:,} classes of the data: lower it, or "
            "take a centre for each class, head.name=partial_fc"
        )
    return max(1, round(size * num_classes)) if size <= 1 else int(size)
