"""Covers for images that are verified: rectangles of pixels, which training never sees."""

from typing import Literal

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Fill = Literal["white", "black", "grey", "noise"]
FILLS: tuple[Fill, ...] = ("white", "black", "grey", "noise")
LONGEST = 2.0  # a rectangle's longer side over its shorter one, at most


def cover(
    pixels: Pixels, rng: np.random.Generator, *, fill: Fill, smallest: float = 0.15, largest: float = 0.35
) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    """uint8 [H, W, C] -> the same with a rectangle covered, and which pixels are [H, W].

    Its area is smallest..largest of the image's, its sides differ by a factor of 2 at most, and it lies
    anywhere. fill: white, black, one random grey, or noise. The image that is given does not change.
    """
    height, width = pixels.shape[:2]
    area = rng.uniform(smallest, largest) * height * width
    longer = LONGEST ** rng.uniform(-1, 1)
    tall = int(np.clip(round((area * longer) ** 0.5), 1, height))
    wide = int(np.clip(round((area / longer) ** 0.5), 1, width))
    top, left = int(rng.integers(height - tall + 1)), int(rng.integers(width - wide + 1))
    grey, noise = int(rng.integers(256)), rng.integers(0, 256, (tall, wide, 1), np.uint8)
    values: dict[Fill, int | npt.NDArray[np.uint8]] = {"white": 255, "black": 0, "grey": grey, "noise": noise}
    covered, where = pixels.copy(), np.zeros((height, width), np.bool_)
    covered[top : top + tall, left : left + wide] = values[fill]
    where[top : top + tall, left : left + wide] = True
    return covered, where


def cells(where: npt.NDArray[np.bool_], height: int, width: int) -> npt.NDArray[np.bool_]:
    """Pixels [..., H, W] that are covered -> [..., height, width]: cells that are at least half covered."""
    rows = np.linspace(0, where.shape[-2], height + 1).round().astype(int)
    columns = np.linspace(0, where.shape[-1], width + 1).round().astype(int)
    sums = np.add.reduceat(np.add.reduceat(where.astype(float), rows[:-1], -2), columns[:-1], -1)
    halved: npt.NDArray[np.bool_] = sums >= np.outer(np.diff(rows), np.diff(columns)) / 2
    return halved
