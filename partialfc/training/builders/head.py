"""The head: its margin, and its centres on this rank."""

import torch

from partialfc.config import HeadConfig
from partialfc.errors import ConfigError
from partialfc.head.margins.base import Margin
from partialfc.head.margins.combined import ArcFace, CombinedMargin, CosFace, NormalizedSoftmax
from partialfc.head.partial_fc import PartialFC
from partialfc.training.builders.class_weights import read_class_weights

MARGINS: dict[str, type[Margin]] = {
    "arcface": ArcFace,
    "cosface": CosFace,
    "normalized_softmax": NormalizedSoftmax,
    "combined": CombinedMargin,
}


def build_head(section: HeadConfig, *, embedding_size: int, num_classes: int, seed: int) -> PartialFC:
    """The head, on the CPU. Raises ConfigError where its centres do not fit the memory."""
    gather = section.gather_dtype
    margin = section.margin.model_dump(exclude={"name"})
    path = section.class_weights
    try:
        return PartialFC(
            embedding_size,
            num_classes,
            margin=MARGINS[section.margin.name](**margin),
            sample_rate=section.sample_rate,
            weight_dtype=getattr(torch, section.weight_dtype),
            compute_dtype=getattr(torch, section.compute_dtype),
            gather_dtype=None if gather is None else getattr(torch, gather),
            compile=section.compile,
            class_weights=None if path is None else read_class_weights(path, num_classes),
            seed=seed,
        )
    except RuntimeError as error:  # the CPU's allocator has no error of its own
        if not ("allocate memory" in str(error) or "size calculation overflowed" in str(error)):
            raise
        raise ConfigError(
            f"data.num_classes is {num_classes:,}: centres of backbone.embedding_size {embedding_size} "
            "do not fit this rank's memory; `partialfc plan CONFIG` says what would"
        ) from error
