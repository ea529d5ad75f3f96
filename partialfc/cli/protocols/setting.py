"""What every protocol is given: a trained network on its device, among the ranks that torchrun started."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch

from partialfc.cli.arguments import Amp, Flip
from partialfc.deploy.opened.onnx_backbone import OnnxBackbone
from partialfc.deploy.trained import Trained
from partialfc.distributed.device import autocast_dtype, local_device
from partialfc.distributed.group import process_group
from partialfc.distributed.torchrun import ending_with_launcher
from partialfc.distributed.world import World
from partialfc.errors import ConfigError
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


def embedder_of(
    trained: Trained,
    world: World,
    device: torch.device,
    *,
    flip: Flip,
    amp: Amp,
    batch_size: int,
    max_pixels: int,
) -> Embedder:
    """Of a trained backbone, put on the device in the memory format of the run, by which sums round.

    amp: as `--amp` asks for it. Raises ConfigError where it asks an .onnx, which computes as it was written.
    """
    own = isinstance(trained.backbone, OnnxBackbone)
    if own and amp not in ("run", "none"):
        raise ConfigError(
            f"--amp is {amp}, and {trained.checkpoint} is an .onnx, which computes in the type that it was "
            "written for: leave it out"
        )
    backbone = trained.backbone.to(device)
    if trained.channels_last:
        backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    asked = trained.amp if amp == "run" else amp
    return Embedder(
        network=backbone,
        size=trained.embedding_size,
        world=world,
        image_size=trained.image_size,
        channels=trained.channels,
        batch_size=batch_size,
        device=device,
        flip=flip,
        max_pixels=max_pixels,
        amp=autocast_dtype(None if asked == "none" else asked, device),
        computes_in=trained.card.precision if own and trained.card is not None else None,
    )
