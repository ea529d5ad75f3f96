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


def lack_of_pairs(config: Config, num_classes: int) -> tuple[str, str] | None:
    """What the losses on pairs or triplets lack in the run's batches, and what to do; None where nothing."""
    names = [section.name for section in config.losses if not isinstance(section, CenterLossConfig)]
    if not names:
        return None
    who, size, each = " and ".join(names), config.train.batch_size, config.data.images_per_identity
    same, other = f"{who} takes two samples of one class", f"{who} takes samples of two classes"
    if size == 1:
        return f"{same}, and train.batch_size is 1, so no batch has two", "raise train.batch_size"
    if num_classes == 1:
        return f"{other}, and the data has one", "leave the loss out"
    if each == 1:
        return f"{same}, and data.images_per_identity is 1, so no batch has two", "raise it, to 4 for example"
    if each == size:
        says = f"{other}, and data.images_per_identity is {each}, as train.batch_size, so a batch has one"
        return says, "lower it, or raise train.batch_size"
    if each is None and size < num_classes:
        return (
            f"{same}, and a random batch of {size:,} images of {num_classes:,} classes has few",
            "data.sampler: identities draws batches of them",
        )
    return None


def warn_of_few_pairs(config: Config, num_classes: int) -> None:
    """Log it where losses on pairs or triplets lack pairs."""
    if lack := lack_of_pairs(config, num_classes):
        log.warning("losses: %s: %s", *lack)


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
