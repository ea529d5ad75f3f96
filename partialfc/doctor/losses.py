"""The check of losses on pairs and triplets: do the batches have any?"""

from collections.abc import Iterator

from partialfc.config import Config
from partialfc.doctor.check import Check, green, yellow
from partialfc.training.builders.losses import lack_of_pairs


def judge_losses(config: Config, num_classes: int) -> Iterator[Check]:
    """A check where the run has losses beside the head's."""
    if lack := lack_of_pairs(config, num_classes):
        yield yellow("losses", *lack)
    elif config.losses:
        yield green("losses", ", ".join(loss.name for loss in config.losses))
