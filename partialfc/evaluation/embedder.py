"""A network and all that decides what it gives: images to embeddings, spread over the ranks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from partialfc.data.images.header import MAX_PIXELS
from partialfc.distributed.together import together
from partialfc.distributed.world import World
from partialfc.evaluation.embed import Flip, embed


@dataclass(frozen=True, eq=False, kw_only=True)
class Embedder:
    """Gives images [n] the rows [n, width] of `network`, each rank those of its part of the images.

    size: D, how many numbers the network gives. amp: what its products run in; None: float32. computes_in:
    where the network decides that itself, such as "int8". The rest is as `partialfc.evaluation.embed.embed`
    takes it.
    """

    network: nn.Module
    size: int
    world: World
    image_size: int
    channels: int
    batch_size: int
    device: torch.device
    flip: Flip = "none"
    max_pixels: int = MAX_PIXELS
    amp: torch.dtype | None = None
    computes_in: str | None = None

    @property
    def width(self) -> int:
        """How many numbers a row has: 2D where the mirrored image's are set behind an image's own."""
        return 2 * self.size if self.flip == "concat" else self.size

    @property
    def dtype(self) -> str:
        """The name of what the network's products run in, such as "bfloat16"."""
        return self.computes_in or str(self.amp or torch.float32).removeprefix("torch.")

    def part(self, count: int) -> range:
        """Which of `count` images this rank embeds: consecutive ones, one more or less than other ranks."""
        cuts = self._cuts(count)
        return range(cuts[self.world.rank], cuts[self.world.rank + 1])

    def own(self, images: Sequence[bytes], *, name: Callable[[int], str] | None = None) -> torch.Tensor:
        """Encoded images [n] -> the rows [m, width] of this rank's `part`, float32 on the CPU; collective.

        Raises ImageError, on every rank, where one of them has an image that cannot be decoded.
        """
        mine = self.part(len(images))
        rows = torch.zeros(0, self.width)
        with together(self.world):
            if mine:
                rows = embed(
                    self.network,
                    images,
                    part=mine,
                    image_size=self.image_size,
                    channels=self.channels,
                    batch_size=self.batch_size,
                    device=self.device,
                    flip=self.flip,
                    max_pixels=self.max_pixels,
                    amp=self.amp,
                    name=name,
                )
        return rows

    def rows(self, images: Sequence[bytes], *, name: Callable[[int], str] | None = None) -> np.ndarray:
        """Encoded images [n] -> the rows [n, width] of all of them, the same on every rank; collective.

        Raises as `own` does.
        """
        counts = np.diff(self._cuts(len(images))).tolist()
        own = self.own(images, name=name).to(self.device)
        gathered: np.ndarray = self.world.all_gather_rows(own, counts).cpu().numpy()
        return gathered

    def _cuts(self, count: int) -> np.ndarray:
        return np.linspace(0, count, self.world.size + 1).astype(int)
