"""What is exported: a trained network with what is done to images before it, and to embeddings after it."""

import copy
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from partialfc.backbones import with_feature_map
from partialfc.deploy.trained_network import Trained
from partialfc.errors import ConfigError
from partialfc.serving.card import CardFlip, CardInput

SMALLEST_NORM = 1e-12


@dataclass(frozen=True, kw_only=True)
class Interface:
    """What a graph takes, what it does with the mirrored image, and whether it gives rows of norm 1."""

    input: CardInput = field(default_factory=CardInput)
    flip: CardFlip = "none"
    unit: bool = False


def interface(*, pixels: bool, channels_last: bool, flip: CardFlip, unit: bool) -> Interface:
    """pixels: uint8 in, 0..255, and pixel / 127.5 - 1 inside; or floats in -1..1. channels_last: NHWC."""
    taken = CardInput(
        layout="NHWC" if channels_last else "NCHW", dtype="uint8" if pixels else "float32", normalised=pixels
    )
    return Interface(input=taken, flip=flip, unit=unit)


class Pixels:
    """What a graph is given, by its interface, and by channels and image_size of what it takes."""

    interface: Interface
    channels: int
    image_size: int

    def examples(self, count: int, *, seed: int = 0) -> Tensor:
        """Images [count, ...] as it takes them: noise, from coarse to fine, so that no two are alike."""
        side, pixels = self.image_size, []
        generator = torch.Generator().manual_seed(seed)
        for number in range(count):
            coarse = max(1, side >> (number % 4))
            noise = torch.rand(1, self.channels, coarse, coarse, generator=generator)
            pixels.append(nn.functional.interpolate(noise, size=(side, side), mode="nearest"))
        return self.as_input(torch.cat(pixels).mul_(255).round_().to(torch.uint8))

    def as_input(self, images: Tensor) -> Tensor:
        """uint8 pixels [n, channels, side, side] -> the same images as it takes them."""
        x = images if self.interface.input.normalised else images.float().div_(127.5).sub_(1)
        x = x.to(torch.uint8 if self.interface.input.dtype == "uint8" else torch.float32)
        return x.permute(0, 2, 3, 1).contiguous() if self.interface.input.layout == "NHWC" else x


class Graph(Pixels, nn.Module):
    """images as the interface says -> embeddings [n, D], with flip="concat" [n, 2D]; float32, on the CPU.

    For a run with uncertainty it gives log variances [n, D], log sigma^2, as a second output. Of the trained
    network it has a copy.

    Raises ConfigError for flip and uncertainty together: Gaussians cannot be joined so.
    """

    def __init__(self, trained: Trained, interface: Interface) -> None:
        super().__init__()
        self.interface = interface
        self.channels, self.image_size = trained.channels, trained.image_size
        self.width = trained.embedding_size * (2 if interface.flip == "concat" else 1)
        self.backbone = copy.deepcopy(trained.backbone).cpu().float().requires_grad_(False)
        self.uncertainty: nn.Module | None = None
        if trained.probabilistic is not None:
            if interface.flip != "none":
                raise ConfigError(
                    f"--flip {interface.flip} joins two rows, and {trained.checkpoint} gives Gaussians, "
                    "which cannot be joined: leave it out"
                )
            self.uncertainty = copy.deepcopy(trained.probabilistic.uncertainty).cpu().float()
            self.uncertainty.requires_grad_(False)
        self.eval()

    @property
    def outputs(self) -> list[str]:
        """The names of what it gives."""
        return ["embeddings"] if self.uncertainty is None else ["embeddings", "log_variances"]

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        if self.interface.input.layout == "NHWC":
            images = images.permute(0, 3, 1, 2)
        x = images.float()
        if self.interface.input.normalised:
            x = x / 127.5 - 1
        if self.uncertainty is not None:
            parts = with_feature_map(self.backbone, use="a probabilistic embedding")
            features = parts.feature_map(x)
            return self._in_norm(parts.embed_map(features)), self.uncertainty(features)
        if self.interface.flip == "none":
            return self._in_norm(self.backbone(x))
        rows = self.backbone(torch.cat([x, x.flip(-1)]))
        count = x.shape[0]  # len(x) would build this batch's size into the graph
        own, mirrored = rows[:count], rows[count:]
        joined = torch.cat([own, mirrored], 1) if self.interface.flip == "concat" else own + mirrored
        return self._in_norm(joined)

    @torch.no_grad()
    def rows(self, images: Tensor) -> list[npt.NDArray[np.float32]]:
        """What it gives, in the order of `outputs`."""
        given = self(images)
        return [each.numpy() for each in (given if isinstance(given, tuple) else (given,))]

    def _in_norm(self, rows: Tensor) -> Tensor:
        if not self.interface.unit:
            return rows
        unit: Tensor = rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_min(SMALLEST_NORM)
        return unit
