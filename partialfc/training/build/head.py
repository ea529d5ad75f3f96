"""The head: its margin, and its centres on this rank."""

import torch

from partialfc.config import Config
from partialfc.errors import ConfigError
from partialfc.head.margins.base import Margin
from partialfc.head.margins.combined import ArcFace, CombinedMargin, CosFace, NormalizedSoftmax
from partialfc.head.partial_fc import PartialFC

MARGINS: dict[str, type[Margin]] = {
    "arcface": ArcFace,
    "cosface": CosFace,
    "normalized_softmax": NormalizedSoftmax,
    "combined": CombinedMargin,
}


def build_head(config: Config, num_classes: int) -> PartialFC:
    """Raises ConfigError where its centres do not fit the memory."""
    gather = config.head.gather_dtype
    margin = config.head.margin.model_dump(exclude={"name"})
    try:
        return PartialFC(
            config.backbone.embedding_size,
            num_classes,
            margin=MARGINS[config.head.margin.name](**margin),
            sample_rate=config.head.sample_rate,
            weight_dtype=getattr(torch, config.head.weight_dtype),
            compute_dtype=getattr(torch, config.head.compute_dtype),
            gather_dtype=None if gather is None else getattr(torch, gather),
            compile=config.head.compile,
            seed=config.run.seed,
        )
    except RuntimeError as error:  # the CPU's allocator has no error of its own
        if "allocate memory" not in str(error):
            raise
        raise ConfigError(
            f"data.num_classes is {num_classes:,}: centres of backbone.embedding_size "
            f"{config.backbone.embedding_size} do not fit this rank's memory; `partialfc plan CONFIG` says "
            "what would"
        ) from error
