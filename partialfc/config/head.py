"""The section head: its margin, its sample rate, and the types it stores and computes in."""

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from partialfc.config.margin import (
    ArcFaceConfig,
    MarginConfig,
    has_bias,
    keeps_centre_norms,
    largest_class_margin,
    why_no_class_margins,
)
from partialfc.config.pool import ONLY_PARTIAL_FC, PoolConfig
from partialfc.config.section import ConfigPath, Section

Dtype = Literal["float32", "float64", "bfloat16"]


class MarginsBySizeConfig(Section):
    """A margin for each class from the number n of its images: a · n^-exponent + b.

    The recipe of Ha et al. 2020 (arXiv:2010.05350): classes with few images get larger margins.

    Built by training/builders/class_margins.py, `build_class_margins`.
    """

    exponent: float = Field(0.25, gt=0, description="How fast the margin falls with the number of images.")
    a: float | None = Field(
        None,
        ge=0,
        description="Factor; null, as b then: a and b are such that the margins lie between 0.05, that of "
        "the largest class, and 0.5, that of the smallest.",
    )
    b: float | None = Field(None, ge=0, description="What margins come near to in very large classes.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.a is None) != (self.b is None):
            raise ValueError("a and b must both be numbers, or both be left out")
        if self.largest >= math.pi:
            raise ValueError(
                f"a + b, the margin of a class with one image, must be below pi, got {self.largest:g}"
            )
        return self

    @property
    def largest(self) -> float:
        """The margin of a class with one image, which is the largest; 0 where a and b are not given."""
        return (self.a or 0.0) + (self.b or 0.0)


class HeadConfig(Section):
    """The sharded classifier: one centre per class, or `sub_centers` of them; or a pool in its place.

    Built by training/builders/head.py, `build_head`; momentum_dtype and unsampled are for the optimizer of
    the centres, training/builders/optimizers.py, `build_head_optimizer`.
    """

    name: Literal["partial_fc", "pool"] = Field(
        "partial_fc",
        description="What stands for the classes. partial_fc: a centre for each; pool: for the classes seen "
        "last the feature of an image of theirs, or of sub_centers images; it needs the section head.pool "
        "and data.sampler: half_identities.",
    )
    pool: PoolConfig | None = Field(None, description="With name: pool, its settings.")
    margin: MarginConfig = Field(ArcFaceConfig(), description="The margin of the target's logit.")
    sub_centers: int = Field(
        1,
        ge=1,
        description="Centres of each class, of which the nearest to a sample stands for the class; with "
        "several, images of a class that differ, or are of another class, do not all pull at one centre.",
    )
    sample_rate: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Fraction of the centres that take part in a step. Those of the batch's own classes "
        "always do.",
    )
    interclass_filter: float | None = Field(
        None,
        ge=-1,
        lt=1,
        description="In training, centres of other classes whose cosine to a sample is above this take no "
        "part in its loss, as they may be the same class under another label; null: all do.",
    )
    logit_correction: bool = Field(
        False,
        description="Add to the logits of sampled negatives the log of 1 / their probability to be sampled, "
        "so that the denominator of the softmax is right on average.",
    )
    weight_dtype: Dtype = Field("float32", description="Type that the centres are stored in.")
    compute_dtype: Dtype = Field(
        "float32",
        description="Type that the head's matrix products are computed in.",
    )
    momentum_dtype: Literal["float32", "float64", "bfloat16", "int8"] | None = Field(
        None,
        description="Type that the centres' momentum is stored in, with sgd; null: float64 where "
        "compute_dtype is float64, else float32. Centres in bfloat16, and momentum in bfloat16 "
        "or int8, are rounded at random, so that they stay right on average.",
    )
    gather_dtype: Literal["bfloat16", "float16"] | None = Field(
        None,
        description="Type in which the ranks exchange embeddings; null: the type that the backbone gives.",
    )
    compile: bool | None = Field(
        None,
        description="Compile the head's element-wise parts; null: only where a step is large enough to gain "
        "from it.",
    )
    class_weights: ConfigPath | None = Field(
        None,
        description="File of a weight for each class, which its samples count in the mean loss: a .npy array "
        "[C], or text with a number on each line, class 0 first; null: all count the same.",
    )
    class_margins: ConfigPath | None = Field(
        None,
        description="File of a margin for each class, in place of the margin of `margin`: as class_weights, "
        "a .npy array [C], or text with a number on each line; null: all have the same.",
    )
    margins_by_size: MarginsBySizeConfig | None = Field(
        None,
        description="In place of class_margins: a margin for each class from the number of its images in "
        "data.train; {} takes the defaults.",
    )
    unsampled: Literal["dense", "frozen"] | None = Field(
        None,
        description="What happens to centres that are not sampled in a step. dense: momentum and weight "
        "decay move them, as in plain SGD; frozen: they stay as they are; null: dense with sgd, "
        "frozen with adamw, for which there is only frozen.",
    )

    @model_validator(mode="after")
    def _check_pool(self) -> Self:
        if self.name == "partial_fc":
            if self.pool is not None:
                raise ValueError("pool is only for name: pool; leave it out, or set name: pool")
            return self
        if self.pool is None:
            raise ValueError("name: pool needs the section pool, with its size, such as pool: {size: 0.01}")
        if has_bias(self.margin):
            raise ValueError("margin.bias: a class in a pool has no bias; leave it out")
        for key in ONLY_PARTIAL_FC:
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key} is only for name: partial_fc; leave it out with name: pool")
        return self

    @model_validator(mode="after")
    def _check(self) -> Self:
        name = self.margin.name
        if self.interclass_filter is not None and keeps_centre_norms(self.margin):
            raise ValueError(
                f"interclass_filter is {self.interclass_filter:g}, a cosine, but with margin.name: {name} "
                "the centres' norms count too: leave it out, or take another margin"
            )
        by_class = [key for key in ("class_margins", "margins_by_size") if getattr(self, key) is not None]
        if len(by_class) > 1:
            raise ValueError("class_margins and margins_by_size both give each class a margin; leave one out")
        if by_class and (why := why_no_class_margins(self.margin)):
            raise ValueError(f"{by_class[0]} gives a margin to each class, {why}")
        below = largest_class_margin(self.margin)
        if self.margins_by_size and (largest := self.margins_by_size.largest) >= below:
            raise ValueError(
                f"margins_by_size gives a class with one image a + b, {largest:g}; with margin.name: {name} "
                f"it must be below {below:g}"
            )
        return self
