"""The picture of occlusion: images, what the generator hides of them, covers, and what the branch says."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from partialfc.report.figure import empty_figure, save_picture

ROWS = (
    "image",
    "generator's\nscores",
    "a mask\nof training",
    "covered\n(not in training)",
    "predicted\nas hidden",
)
SIDE = 0.85  # inches of an image
Array = npt.NDArray[Any]


def draw_occlusion(
    *,
    images: Array,
    scores: Array,
    masks: Array,
    covered: Array,
    where: Array,
    predicted: Array,
    output: Path,
) -> Path:
    """Write the PNG `output`, which is returned: a column for each of n images, lines around covers.

    images, covered: uint8 [n, H, W, C]; where: bool [n, H, W]; scores, masks, predicted [n, h, w], the last
    two in 0..1. Raises ConfigError where the picture cannot be written, MissingExtraError without matplotlib.
    """
    count, height, width = images.shape[:3]
    figure = empty_figure(width=SIDE * count + 1.1, height=SIDE * len(ROWS))
    axes = figure.subplots(len(ROWS), count, squeeze=False)
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)  # cells lie over the pixels that they stand for
    for number in range(count):
        column = axes[:, number]
        _show(column[0], images[number])
        column[1].imshow(scores[number], extent=extent, cmap="viridis")
        _show(column[2], images[number])
        _shade(column[2], masks[number], extent)
        _show(column[3], covered[number])
        column[4].imshow(predicted[number], extent=extent, cmap="magma", vmin=0, vmax=1)
        for each in (column[3], column[4]):
            each.contour(where[number], [0.5], colors="tab:cyan", linewidths=1.2)
    for row, words in zip(axes[:, 0], ROWS, strict=True):
        row.set_ylabel(words, fontsize="small", rotation=0, ha="right", va="center")
    for each in axes.flat:
        each.set(xticks=(), yticks=())
    return save_picture(figure, output)


def _show(axes: Any, pixels: Array) -> None:
    axes.imshow(pixels[..., 0] if pixels.shape[2] == 1 else pixels, cmap="gray", vmin=0, vmax=255)


def _shade(axes: Any, mask: Array, extent: tuple[float, float, float, float]) -> None:
    red = np.zeros((*mask.shape, 4))
    red[..., 0], red[..., 3] = 0.85, 0.6 * mask
    axes.imshow(red, extent=extent, interpolation="nearest")
