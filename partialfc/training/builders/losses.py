"""The losses beside the head's."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch

from partialfc.config import CenterLossConfig, Config, LossConfig
from partialfc.head.partial_fc import PartialFC
from partialfc.losses import AngularContrastiveLoss, BatchLoss, CenterLoss, ContrastiveLoss, TripletLoss
from partialfc.losses.weighted import WeightedLosses

log = logging.getLogger(__name__)

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


def warn_of_few_pairs(config: Config, num_classes: int) -> None:
    """Log it where losses are on pairs or triplets, and random batches have few samples of one class."""
    names = [section.name for section in config.losses if not isinstance(section, CenterLossConfig)]
    size = config.train.batch_size
    if names and config.data.sampler == "shuffle" and size < num_classes:
        log.warning(
            "losses: %s takes two samples of one class, and a random batch of %s images of %s classes has "
            "few: data.sampler: identities draws batches of them",
            *(" and ".join(names), f"{size:,}", f"{num_classes:,}"),
        )


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
