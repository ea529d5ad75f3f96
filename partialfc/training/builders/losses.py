"""The losses beside the head's."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from partialfc.config import CenterLossConfig, LossConfig
from partialfc.head.partial_fc import PartialFC
from partialfc.losses import AngularContrastiveLoss, BatchLoss, CenterLoss, ContrastiveLoss, TripletLoss
from partialfc.losses.weighted import WeightedLosses

LOSSES: dict[str, Callable[..., BatchLoss]] = {
    "center": CenterLoss,
    "contrastive": ContrastiveLoss,
    "angular_contrastive": AngularContrastiveLoss,
    "triplet": TripletLoss,
}


def build_losses(sections: Sequence[LossConfig], head: PartialFC) -> WeightedLosses:
    """The losses by name, in their order; centres of their own are on the head's device."""
    losses: dict[str, BatchLoss] = {
        section.name: LOSSES[section.name](**_arguments(section, head)) for section in sections
    }
    return WeightedLosses(losses, {section.name: section.weight for section in sections})


def _arguments(section: LossConfig, head: PartialFC) -> dict[str, Any]:
    arguments = section.model_dump(exclude={"name", "weight", "centres"})
    if not isinstance(section, CenterLossConfig):
        return arguments
    if section.centres == "head":
        return arguments | {"head": head}
    wide = head.math_dtype == torch.float64
    return arguments | {
        "embedding_size": head.embedding_size,
        "num_classes": head.shard.num_classes,
        "dtype": torch.float64 if wide else torch.float32,
        "device": head.weight.device,
    }
