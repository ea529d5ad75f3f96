"""Images made worse by a known strength: blur, noise, low resolution, occlusion.

For measuring what says how good an image is (`partialfc.uncertainty`), and for training data that has bad
images.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from partialfc.data.images.codec import Pixels
from partialfc.data.images.opencv import cv2

BLUR = 0.15  # deviation of the Gaussian at strength 1, as a share of the shorter side
NOISE = 400.0  # deviation of the noise at strength 1, in grey levels of 0..255
SMALLEST = 0.1  # the size that low resolution shrinks to at strength 1, as a share of the full size
COVERED = 0.8  # share of the area that occlusion covers at strength 1


def degrade(pixels: Pixels, kind: str, strength: float, rng: np.random.Generator) -> Pixels:
    """uint8 [H, W, C] -> the same shape, made worse: the higher the strength in [0, 1], the more; 0: as it
    is.

    kind: one of DEGRADATIONS. A pure function of the pixels, the strength and the generator's state: with the
    same state, a higher strength covers more of the same place, and adds more of the same noise.

    Raises ValueError for another kind, and for a strength outside of [0, 1].
    """
    if kind not in DEGRADATIONS:
        raise ValueError(f"kind is {kind!r}; it must be one of {', '.join(DEGRADATIONS)}")
    if not 0 <= strength <= 1:
        raise ValueError(f"strength is {strength}; it must lie in 0..1")
    return pixels if strength == 0 else DEGRADATIONS[kind](pixels, strength, rng)


def _blur(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    sigma = strength * BLUR * min(pixels.shape[:2])
    return _shaped(cv2.GaussianBlur(pixels, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101), pixels)


def _noise(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    noisy = pixels + strength * NOISE * rng.standard_normal(pixels.shape)
    return noisy.round().clip(0, 255).astype(np.uint8)


def _low_resolution(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    height, width = pixels.shape[:2]
    factor = SMALLEST**strength
    small = max(1, round(factor * width)), max(1, round(factor * height))
    shrunk = cv2.resize(pixels, small, interpolation=cv2.INTER_AREA)
    return _shaped(cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR), pixels)


def _occlude(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """One box of the image's proportions, anywhere within it, of one grey."""
    down, right, grey = rng.random(3).tolist()
    side = (strength * COVERED) ** 0.5
    height, width = (max(1, round(side * full)) for full in pixels.shape[:2])
    top, left = round(down * (pixels.shape[0] - height)), round(right * (pixels.shape[1] - width))
    covered = pixels.copy()
    covered[top : top + height, left : left + width] = round(255 * grey)
    return covered


def _shaped(changed: npt.NDArray[Any], pixels: Pixels) -> Pixels:
    """Puts back the channel axis, which OpenCV drops from grey images."""
    return changed.reshape(pixels.shape)


DEGRADATIONS: dict[str, Callable[[Pixels, float, np.random.Generator], Pixels]] = {
    "blur": _blur,
    "noise": _noise,
    "low_resolution": _low_resolution,
    "occlusion": _occlude,
}
