"""A perceptual hash: 64 bits of an image, few of which change when it is saved again, scaled, brightened."""

from typing import Any

import numpy as np
import numpy.typing as npt

from partialfc.data.images.codec import Pixels
from partialfc.data.images.opencv import cv2

SIDE = 32  # pixels that a picture is reduced to
_FLAT = 8  # grey levels: a picture with less between its darkest and its brightest part is of one colour
_HIGHEST = 11  # frequencies along each side, of which the 64 lowest fall within


def reduced(pixels: Pixels) -> Pixels:
    """uint8 [H, W, 3] RGB -> uint8 [SIDE, SIDE, 3]: what the hash is taken from."""
    larger = max(pixels.shape[:2]) > SIDE
    method = cv2.INTER_AREA if larger else cv2.INTER_LINEAR
    small: npt.NDArray[Any] = cv2.resize(pixels, (SIDE, SIDE), interpolation=method)
    return small


def is_flat(small: Pixels) -> bool:
    """Whether a reduced picture [SIDE, SIDE, 3] is of one colour, as far as one can see: it has no hash."""
    ends = (cv2.minMaxLoc(channel) for channel in cv2.split(small))
    return all(high - low < _FLAT for low, high, *_ in ends)


def perceptual_hashes(small: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """Reduced pictures uint8 [n, SIDE, SIDE, 3] -> their hashes, uint64 [n].

    The 64 lowest frequencies of the cosine transform of the grey picture, its mean left out, each as whether
    it is above their median (Zauner 2010, "Implementation and benchmarking of perceptual image hash
    functions", section 3.2.1; there 8 x 8 of them).
    """
    grey = small.astype(np.float32) @ _GREY
    found = np.rint(_COSINES @ grey @ _COSINES.T)  # whole: of what is no more than rounding nothing is left
    lowest = found.reshape(len(small), -1)[:, _LOWEST]
    bits = lowest > np.median(lowest, axis=1, keepdims=True)
    packed = np.ascontiguousarray(np.packbits(bits, axis=1))
    return packed.view(">u8").astype(np.uint64).reshape(-1)


def _cosines() -> npt.NDArray[np.float32]:
    """The rows of the orthonormal cosine transform (DCT-II) for the lowest frequencies [_HIGHEST, SIDE]."""
    frequency, place = np.arange(_HIGHEST)[:, None], np.arange(SIDE)[None]
    rows = np.sqrt(2 / SIDE) * np.cos(np.pi * frequency * (2 * place + 1) / (2 * SIDE))
    rows[0] /= np.sqrt(2)
    return np.asarray(rows, np.float32)


def _lowest() -> npt.NDArray[np.int64]:
    """Where the 64 lowest frequencies but the mean lie among _HIGHEST x _HIGHEST, by the sum of both."""
    down, across = np.divmod(np.arange(_HIGHEST**2), _HIGHEST)
    return np.lexsort((down, down + across))[1:65]


_GREY = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue (ITU-R BT.601)
_COSINES = _cosines()
_LOWEST = _lowest()
