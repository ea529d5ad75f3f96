"""What every protocol is given: a trained network on its device, among the ranks that torchrun started."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch

from partialfc.deploy.trained import Trained
from partialfc.distributed.device import local_device
from partialfc.distributed.group import process_group
from partialfc.distributed.torchrun import ending_with_launcher
from partialfc.distributed.world import World
from partialfc.evaluation.embedder import Embedder

TIMEOUT = timedelta(minutes=30)  # of a rank that others wait for: one may have many more pixels to decode


@dataclass(frozen=True, eq=False)
class Setting:
    """trained: the network. embedder: images to its embeddings, spread over the ranks. replicates, seed: of
    the bootstrap for the figures' intervals; 0 replicates: no intervals.
    """

    trained: Trained
    embedder: Embedder
    replicates: int
    seed: int


@contextmanager
def ranks(device: str) -> Iterator[tuple[World, torch.device]]:
    """Under torchrun its processes, else this one alone; and this one's device, as `--device` asks for it."""
    own = local_device(device, name="--device")
    with ending_with_launcher(), process_group(own, timeout=TIMEOUT):
        yield World.of(), own
