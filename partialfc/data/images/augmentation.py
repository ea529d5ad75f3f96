"""Augmentation: what is drawn at random for one training image, and how that changes its pixels.

Drawing and changing are two functions, so that another implementation (partialfc.data.loading.dali) can
change pixels by what was drawn here.
"""

import functools
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from partialfc.data.images.codec import Pixels
from partialfc.data.images.opencv import cv2

CONTRAST_CENTRE = 128.0  # the value that contrast leaves as it is
LUMA = (0.299, 0.587, 0.114)  # red, green, blue in the grey of ITU-R BT.601


@dataclass(frozen=True, slots=True)
class Augment:
    """How far `augment` may go; the defaults change nothing."""

    flip: bool = False  # left to right, half of the time
    shift: float = 0.0  # up to this share of height and width, either way
    scale: float = 0.0  # size times 1 - scale .. 1 + scale
    rotate: float = 0.0  # up to this many degrees, either way
    fill: int | None = None  # the value of pixels from outside; None: the mean of the border pixels
    brightness: float = 0.0  # values times 1 - brightness .. 1 + brightness
    contrast: float = 0.0  # distance from mid-grey times 1 - contrast .. 1 + contrast
    saturation: float = 0.0  # distance from the pixel's own grey times 1 - saturation .. 1 + saturation
    low_resolution: float = 0.0  # how often the image is shrunk and enlarged again, 0..1
    low_resolution_size: float = 0.25  # the smallest size that it is shrunk to, as a share of its full size

    def __post_init__(self) -> None:
        for field, limit in (
            ("shift", 1.0),
            ("scale", 0.9),
            ("rotate", 180.0),
            ("brightness", 1.0),
            ("contrast", 1.0),
            ("saturation", 1.0),
            ("low_resolution", 1.0),
        ):
            value = getattr(self, field)
            if not 0 <= value <= limit:
                raise ValueError(f"{field} {value}: must be 0..{limit:g}")
        if not 0 < self.low_resolution_size <= 1:
            raise ValueError(f"low_resolution_size {self.low_resolution_size}: must be above 0, at most 1")
        if self.fill is not None and not 0 <= self.fill <= 255:
            raise ValueError(f"fill {self.fill}: must be 0..255, or None for the mean of the border pixels")

    @property
    def moves(self) -> bool:
        return bool(self.flip or self.shift or self.scale or self.rotate)

    @property
    def coarsens(self) -> bool:
        return self.low_resolution > 0

    @property
    def recolours(self) -> bool:
        return bool(self.brightness or self.contrast or self.saturation)


class Drawn(NamedTuple):
    """What was drawn for one image; every field is set, also where the option that it belongs to is off.

    matrix [2, 3]: from a pixel's (x, y, 1) to where it goes, pixel centres at whole numbers.
    size: (height, width) to shrink to before enlarging again; the image's own size if it is not coarsened.
    """

    matrix: npt.NDArray[np.float64]
    size: tuple[int, int]
    brightness: float
    contrast: float
    saturation: float


def draw(rng: np.random.Generator, options: Augment, *, height: int, width: int) -> Drawn:
    """A pure function of the generator's state: it takes five numbers, ten if `options` ask for more."""
    flip, right, down, zoom, turn = rng.random(5).tolist()
    more = rng.random(5).tolist() if options.coarsens or options.recolours else [0.5] * 5
    bright, contrast, vivid, coarse, share = more
    return Drawn(
        matrix=_affine(options, height, width, flip=flip, right=right, down=down, zoom=zoom, turn=turn),
        size=_coarse_size(options, height, width, share)
        if coarse < options.low_resolution
        else (height, width),
        brightness=1 + options.brightness * (2 * bright - 1),
        contrast=1 + options.contrast * (2 * contrast - 1),
        saturation=1 + options.saturation * (2 * vivid - 1),
    )


def augment(pixels: Pixels, rng: np.random.Generator, options: Augment) -> Pixels:
    """uint8 [H, W, C] -> the same shape: moved by one bilinear affine map, coarsened, recoloured."""
    if not (options.moves or options.coarsens or options.recolours):
        return pixels
    drawn = draw(rng, options, height=pixels.shape[0], width=pixels.shape[1])
    if options.moves:
        pixels = _move(pixels, drawn.matrix, options.fill)
    if options.coarsens:
        pixels = _coarsen(pixels, drawn.size)
    if options.recolours:
        pixels = _recolour(pixels, drawn)
    return pixels


def border_mask(height: int, width: int) -> npt.NDArray[np.bool_]:
    """[H, W], True on the outermost pixels; their mean is the value of pixels from outside."""
    border = np.ones((height, width), np.bool_)
    border[1:-1, 1:-1] = False
    return border


def _affine(
    options: Augment,
    height: int,
    width: int,
    *,
    flip: float,
    right: float,
    down: float,
    zoom: float,
    turn: float,
) -> npt.NDArray[np.float64]:
    """About the centre: mirror, then turn and zoom, then shift. Each number drawn is in [0, 1)."""
    mirror = -1.0 if options.flip and flip < 0.5 else 1.0
    factor = 1 + options.scale * (2 * zoom - 1)
    angle = math.radians(options.rotate * (2 * turn - 1))
    cos, sin = factor * math.cos(angle), factor * math.sin(angle)
    x, y = (width - 1) / 2, (height - 1) / 2
    to_x = x + options.shift * (2 * right - 1) * width
    to_y = y + options.shift * (2 * down - 1) * height
    return np.array(
        [
            [cos * mirror, -sin, to_x - cos * mirror * x + sin * y],
            [sin * mirror, cos, to_y - sin * mirror * x - cos * y],
        ]
    )


def _coarse_size(options: Augment, height: int, width: int, share: float) -> tuple[int, int]:
    """(height, width) times low_resolution_size .. 1, at least one pixel."""
    smallest = options.low_resolution_size
    factor = smallest + (1 - smallest) * share
    return max(1, round(factor * height)), max(1, round(factor * width))


def _move(pixels: Pixels, matrix: npt.NDArray[np.float64], fill: int | None) -> Pixels:
    height, width = pixels.shape[:2]
    if np.array_equal(matrix, np.eye(2, 3)):
        return pixels
    if np.array_equal(matrix, [[-1, 0, width - 1], [0, 1, 0]]):
        return _shaped(cv2.flip(pixels, 1), pixels)
    moved = cv2.warpAffine(
        pixels,
        matrix,
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=_border_mean(pixels) if fill is None else (fill,) * 4,
    )
    return _shaped(moved, pixels)


def _coarsen(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    height, width = pixels.shape[:2]
    if size == (height, width):
        return pixels
    small = cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_AREA)
    return _shaped(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), pixels)


def _recolour(pixels: Pixels, drawn: Drawn) -> Pixels:
    """Saturation, then contrast, then brightness, as one affine map of each pixel; grey has no saturation."""
    channels = pixels.shape[2]
    colour = np.eye(channels)
    if channels == 3:
        colour = drawn.saturation * colour + (1 - drawn.saturation) * np.array([LUMA] * 3)
    offset = np.full((channels, 1), CONTRAST_CENTRE * (1 - drawn.contrast))
    matrix = drawn.brightness * np.hstack([drawn.contrast * colour, offset])
    return _shaped(cv2.transform(pixels, matrix), pixels)


def _border_mean(pixels: Pixels) -> tuple[float, ...]:
    height, width, channels = pixels.shape
    border = pixels.reshape(1, -1, channels).take(_border_indices(height, width), axis=1)
    return tuple(cv2.mean(border))


@functools.lru_cache(maxsize=8)
def _border_indices(height: int, width: int) -> npt.NDArray[np.intp]:
    return np.flatnonzero(border_mask(height, width))


def _shaped(changed: npt.NDArray[Any], pixels: Pixels) -> Pixels:
    """Puts back the channel axis, which OpenCV drops from grey images."""
    return changed.reshape(pixels.shape)
