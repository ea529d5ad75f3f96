"""The section head."""

from typing import Literal

from pydantic import Field

from partialfc.config.margin import ArcFaceConfig, MarginConfig
from partialfc.config.section import Section

Dtype = Literal["float32", "float64", "bfloat16"]


class HeadConfig(Section):
    """The sharded classifier: one centre per class."""

    margin: MarginConfig = Field(ArcFaceConfig(), description="The margin of the target's logit.")
    sample_rate: float = Field(
        1.0, gt=0, le=1, description="Fraction of the centres that take part in a step; positives always do."
    )
    weight_dtype: Dtype = Field("float32", description="How the centres are stored.")
    compute_dtype: Dtype = Field("float32", description="What the head's matrix products run in.")
    momentum_dtype: Literal["float32", "float64", "bfloat16", "int8"] | None = Field(
        None,
        description="How the centres' momentum is stored with sgd; null: float32, or float64 where the head "
        "computes in it. bfloat16 centres and bfloat16 or int8 momentum round at random, without bias.",
    )
    gather_dtype: Literal["bfloat16"] | None = Field(
        None, description="What embeddings are exchanged in; null: as the backbone gives them."
    )
    compile: bool | None = Field(
        None,
        description="Compile the head's element-wise parts; null: where a step is large enough to repay it.",
    )
    unsampled: Literal["dense", "frozen"] | None = Field(
        None,
        description="Centres that sit a step out. dense: move as in plain SGD, by momentum and weight decay; "
        "frozen: stay; null: dense with sgd, frozen with adamw, which knows no other way.",
    )
