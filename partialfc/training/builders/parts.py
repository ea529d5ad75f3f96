"""What an objective may be made of."""

from dataclasses import dataclass

import torch

from partialfc.config import Config
from partialfc.data.sources.labelled import Labelled
from partialfc.distributed.world import World


@dataclass(frozen=True)
class Parts:
    """source: the training data; num_classes: C."""

    config: Config
    source: Labelled
    num_classes: int
    world: World
    device: torch.device
