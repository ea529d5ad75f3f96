"""The section head: its margin, its sample rate, and the types it stores and computes in."""

from typing import Literal

from pydantic import Field

from partialfc.config.margin import ArcFaceConfig, MarginConfig
from partialfc.config.section import ConfigPath, Section

Dtype = Literal["float32", "float64", "bfloat16"]


class HeadConfig(Section):
    """The sharded classifier: one centre per class.

    Built by training/builders/head.py, `build_head`; momentum_dtype and unsampled are for the optimizer of
    the centres, training/builders/optimizers.py, `build_head_optimizer`.
    """

    margin: MarginConfig = Field(ArcFaceConfig(), description="The margin of the target's logit.")
    sample_rate: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Fraction of the centres that take part in a step. Those of the batch's own classes "
        "always do.",
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
    unsampled: Literal["dense", "frozen"] | None = Field(
        None,
        description="What happens to centres that are not sampled in a step. dense: momentum and weight "
        "decay move them, as in plain SGD; frozen: they stay as they are; null: dense with sgd, "
        "frozen with adamw, for which there is only frozen.",
    )
