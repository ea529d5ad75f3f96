"""The masks that there are to choose from: on a grid of H x W cells, 1 where a cell is hidden."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from partialfc.errors import ConfigError

WAYS = ("region", "half", "random_half")
RANDOM_HALVES = 4  # drawn for each image, of which one is chosen
Point = tuple[float, float]


@dataclass(frozen=True)
class Candidates:
    """Of each image of a batch, the masks that its own one is chosen from.

    fixed [F, cells]: the same for all images; drawn [B, R, cells]: each image's own. Both hold 0 and 1.
    allowed [B, F + R]: whether a mask is of the way that was drawn for the image.
    """

    fixed: Tensor
    drawn: Tensor
    allowed: Tensor

    def logits(self, scores: Tensor) -> Tensor:
        """The mean of a mask's scores [B, cells] -> [B, F + R]; minus infinity where it is not allowed."""
        fixed = scores @ (self.fixed / self.fixed.sum(1, keepdim=True)).T
        sizes = self.drawn.sum(2).clamp_min(1)
        drawn = torch.einsum("brc,bc->br", self.drawn, scores) / sizes
        return torch.cat([fixed, drawn], 1).masked_fill(~self.allowed, -torch.inf)

    def mixed(self, shares: Tensor) -> Tensor:
        """The masks, each times its share [B, F + R], summed -> [B, cells]."""
        fixed, drawn = torch.tensor_split(shares, (len(self.fixed),), 1)
        masks: Tensor = fixed @ self.fixed + torch.einsum("br,brc->bc", drawn, self.drawn)
        return masks


def regions(height: int, width: int, *, size: float, landmarks: Sequence[Point] | None) -> Tensor:
    """A window around each cell, or around the cell of each landmark -> [R, height, width].

    size: the sides of the window, as a share of the map's; at least one cell, and never the whole side. At
    the border it is cut. landmarks: (x, y), each in 0..1 from the left and from the top.
    """
    tall, wide = (min(side - 1, max(1, round(size * side))) for side in (height, width))
    if landmarks is None:
        cells = [(row, column) for row in range(height) for column in range(width)]
    else:
        cells = [(min(int(y * height), height - 1), min(int(x * width), width - 1)) for x, y in landmarks]
    masks = torch.zeros(len(cells), height, width, device="cpu")
    for mask, (row, column) in zip(masks, cells, strict=True):
        top, left = row - (tall - 1) // 2, column - (wide - 1) // 2
        mask[max(0, top) : top + tall, max(0, left) : left + wide] = 1
    return masks


def halves(height: int, width: int) -> Tensor:
    """Left, right, top, bottom -> [4, height, width]; the middle line of an odd number is in none."""
    masks = torch.zeros(4, height, width, device="cpu")
    masks[0, :, : width // 2] = 1
    masks[1, :, -(width // 2) :] = 1
    masks[2, : height // 2] = 1
    masks[3, -(height // 2) :] = 1
    return masks


def random_halves(numbers: Tensor) -> Tensor:
    """numbers [B, R, cells], all different -> masks of the same shape: the smaller half of each."""
    cells = numbers.shape[2]
    smallest = numbers.argsort(2)[..., : cells // 2]
    return torch.zeros_like(numbers).scatter(2, smallest, 1.0)


def check_grid(height: int, width: int) -> None:
    """ConfigError for a map that is too small to hide a part of it."""
    if min(height, width) < 2:
        raise ConfigError(
            f"the backbone's last feature map is {height} x {width}: occlusion hides a part of it, so it "
            "needs 2 x 2 cells at least; use larger images, or a backbone that halves them less often"
        )


def draws(seed: int, step: int, *, first: int, count: int, numbers: int) -> np.ndarray:
    """Uniform numbers in [0, 1) for the samples at places first..first + count - 1 of the global batch.

    [count, numbers], a function of (seed, step, place): the same on whichever rank a sample is. Only those
    of these samples are computed.
    """
    bits = np.random.PCG64(np.random.SeedSequence((seed, step, OCCLUSION)))
    bits.advance(first * numbers)  # a number takes one step of the generator
    return np.random.Generator(bits).random((count, numbers))


OCCLUSION = 2**32 - 2  # in the place of a block's number, see head/sampling.py and head/margins/samples.py
