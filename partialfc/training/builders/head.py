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

# Of a RuntimeError: the CPU's allocator has no error of its own.
NO_ROOM = ("allocate memory", "size calculation overflowed")


def build_head(
    section: HeadConfig, *, embedding_size: int, num_classes: int, seed: int, device: torch.device
) -> PartialFC:
    """The head, built on `device`. Raises ConfigError where its centres do not fit the memory there."""
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
            device=device,
        )
    except RuntimeError as error:
        if not (isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in NO_ROOM)):
            raise
        raise ConfigError(
            f"data.num_classes is {num_classes:,}: centres of backbone.embedding_size {embedding_size} "
            f"do not fit this rank's memory on {device}; `partialfc plan CONFIG` says what would"
        ) from error
