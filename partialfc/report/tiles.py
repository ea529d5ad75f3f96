"""Images with words below them: what contact sheets and pages show."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from partialfc.data.images.codec import encode_jpeg, encode_png
from partialfc.data.images.opencv import cv2

Pixels = npt.NDArray[np.uint8]

PIXELATED = 64  # an image whose sides are at most so many pixels is shown pixel by pixel


class Mark(Enum):
    """What a tile's frame says: nothing, that the image is kept or left out, or that something is wrong."""

    NONE = "none"
    KEPT = "kept"
    LEFT_OUT = "left out"
    SUSPECT = "suspect"


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """An image, or None where it cannot be shown; its name, and a second line in small print."""

    pixels: Pixels | None  # [H, W, 3] RGB or [H, W, 1] grey
    caption: str
    detail: str = ""
    mark: Mark = Mark.NONE


def thumbnail(pixels: Pixels, side: int) -> Pixels:
    """uint8 [H, W, C] -> [h, w, C] with its larger side at most `side`; a smaller image stays as it is."""
    height, width, channels = pixels.shape
    larger = max(height, width)
    if larger <= side:
        return pixels
    size = max(1, round(width * side / larger)), max(1, round(height * side / larger))
    resized: npt.NDArray[Any] = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return resized.reshape(size[1], size[0], channels)  # OpenCV drops the channel axis of grey ones


def encoded_thumbnail(pixels: Pixels, side: int) -> tuple[str, bytes]:
    """The media type and the file of a thumbnail: PNG where it is small enough to count pixels, else JPEG."""
    small = thumbnail(pixels, side)
    if max(small.shape[:2]) <= PIXELATED:
        return "image/png", encode_png(small)
    return "image/jpeg", encode_jpeg(small, quality=80)
