"""What every protocol is given: a trained network on its device, among the ranks that torchrun started."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import nn

from partialfc.cli.arguments import Amp
from partialfc.deploy.trained import Trained
from partialfc.distributed.device import autocast_dtype, local_device
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


def network_on(trained: Trained, device: torch.device) -> nn.Module:
    """The backbone on the device, in the memory format that the run kept it in: sums round by it."""
    backbone = trained.backbone.to(device)
    if trained.channels_last:
        backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return backbone


def amp_of(trained: Trained, choice: Amp, device: torch.device) -> torch.dtype | None:
    """What `--amp` asks for; None: float32."""
    asked = trained.amp if choice == "run" else choice
    return autocast_dtype(None if asked == "none" else asked, device)
