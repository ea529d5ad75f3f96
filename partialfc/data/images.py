"""Encoded images to pixels and back, and augmentation: uint8 [H, W, C], RGB or grey.

JPEG goes through simplejpeg (libjpeg-turbo): its strict mode refuses damage inside the stream, where Pillow
and OpenCV return a half-grey image. PNG and resampling go through OpenCV. benchmarks/decode.py compares them.
"""

import functools
import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from partialfc.errors import ImageError

Pixels = npt.NDArray[np.uint8]

_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG\r\n\x1a\n"


def decode(data: bytes, *, channels: int = 3) -> Pixels:
    """JPEG or PNG -> uint8 [H, W, channels], RGB for 3 and grey for 1; ImageError on damage.

    Colour becomes grey and grey colour as asked; alpha is dropped, 16 bits become 8, EXIF rotation is not
    applied.
    """
    if channels not in (1, 3):
        raise ValueError(f"channels {channels}: must be 3 (RGB) or 1 (grey)")
    if data.startswith(_JPEG):
        return _decode_jpeg(data, channels)
    if data.startswith(_PNG):
        return _decode_any(data, channels)
    raise ImageError(f"neither JPEG nor PNG: {len(data)} bytes that start with {data[:8]!r}")


def encode_jpeg(pixels: Pixels, *, quality: int = 95) -> bytes:
    """uint8 [H, W, 3] or [H, W, 1] -> JPEG with 4:2:0 chroma, as MXNet packs it; quality 1..100."""
    if not 1 <= quality <= 100:
        raise ValueError(f"quality {quality}: must be 1..100")
    colorspace, subsampling = ("GRAY", "Gray") if _channels(pixels) == 1 else ("RGB", "420")
    pixels = np.ascontiguousarray(pixels)
    encoded: bytes = simplejpeg.encode_jpeg(
        pixels, quality=quality, colorspace=colorspace, colorsubsampling=subsampling
    )
    return encoded


def encode_png(pixels: Pixels) -> bytes:
    """uint8 [H, W, 3] or [H, W, 1] -> PNG."""
    _channels(pixels)
    _, encoded = cv2.imencode(".png", pixels[:, :, ::-1])  # OpenCV writes BGR
    return encoded.tobytes()


def resize(pixels: Pixels, size: int) -> Pixels:
    """uint8 [H, W, C] -> [size, size, C], averaging areas when it shrinks; the input itself when it fits."""
    if size < 1:
        raise ValueError(f"size {size}: must be at least 1")
    height, width, channels = pixels.shape
    if height == width == size:
        return pixels
    method = cv2.INTER_AREA if size < min(height, width) else cv2.INTER_LINEAR
    return _shaped(cv2.resize(pixels, (size, size), interpolation=method), channels)


@dataclass(frozen=True, slots=True)
class Augment:
    """How far `augment` may go; all zero changes nothing."""

    flip: bool = False  # left to right, every other time
    shift: float = 0.0  # up to this share of height and width, either way
    scale: float = 0.0  # size times 1 - scale .. 1 + scale
    rotate: float = 0.0  # up to this many degrees, either way
    fill: int | None = None  # what comes in from outside; None: the mean of the border pixels

    def __post_init__(self) -> None:
        for field, value, limit in (
            ("shift", self.shift, 1.0),
            ("scale", self.scale, 0.9),
            ("rotate", self.rotate, 180.0),
        ):
            if not 0 <= value <= limit:
                raise ValueError(f"{field} {value}: must be 0..{limit:g}")
        if self.fill is not None and not 0 <= self.fill <= 255:
            raise ValueError(f"fill {self.fill}: must be 0..255, or None for the mean of the border pixels")


def augment(pixels: Pixels, rng: np.random.Generator, options: Augment) -> Pixels:
    """uint8 [H, W, C] -> the same shape, moved by one bilinear affine map drawn from `rng`."""
    if not (options.flip or options.shift or options.scale or options.rotate):
        return pixels
    height, width = pixels.shape[:2]
    flip, right, down, zoom, turn = rng.random(5).tolist()
    mirror = -1.0 if options.flip and flip < 0.5 else 1.0
    factor = 1 + options.scale * (2 * zoom - 1)
    angle = math.radians(options.rotate * (2 * turn - 1))
    cos, sin = factor * math.cos(angle), factor * math.sin(angle)
    # About the centre: mirror, then turn and zoom, then shift.
    x, y = (width - 1) / 2, (height - 1) / 2
    to_x = x + options.shift * (2 * right - 1) * width
    to_y = y + options.shift * (2 * down - 1) * height
    matrix = np.array(
        [
            [cos * mirror, -sin, to_x - cos * mirror * x + sin * y],
            [sin * mirror, cos, to_y - sin * mirror * x - cos * y],
        ]
    )
    fill = _border_mean(pixels) if options.fill is None else (options.fill,) * 4
    moved: npt.NDArray[Any] = cv2.warpAffine(
        pixels,
        matrix,
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=fill,
    )
    return moved.reshape(pixels.shape)  # OpenCV drops the channel axis of grey images


def _border_mean(pixels: Pixels) -> tuple[float, ...]:
    height, width, channels = pixels.shape
    border = pixels.reshape(1, -1, channels).take(_border_indices(height, width), axis=1)
    return tuple(cv2.mean(border))


@functools.lru_cache(maxsize=8)
def _border_indices(height: int, width: int) -> npt.NDArray[np.intp]:
    border = np.ones((height, width), np.bool_)
    border[1:-1, 1:-1] = False
    return np.flatnonzero(border)


def _decode_jpeg(data: bytes, channels: int) -> Pixels:
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(data, "RGB" if channels == 3 else "GRAY", strict=True)
        return pixels
    except ValueError as error:
        damage = error
    try:  # print shops' CMYK: simplejpeg checks it but only OpenCV converts it
        simplejpeg.decode_jpeg(data, "CMYK", strict=True)
    except ValueError:
        raise ImageError(f"damaged JPEG of {len(data)} bytes: {damage}") from damage
    return _decode_any(data, channels)


def _decode_any(data: bytes, channels: int) -> Pixels:
    colour = cv2.IMREAD_COLOR_RGB if channels == 3 else cv2.IMREAD_GRAYSCALE
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), colour | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:  # a size beyond OpenCV's limits
        raise ImageError(f"damaged image of {len(data)} bytes: {error}") from error
    if pixels is None:
        raise ImageError(f"damaged image of {len(data)} bytes")
    return _shaped(pixels, channels)


def _shaped(pixels: npt.NDArray[Any], channels: int) -> Pixels:
    """Puts back the channel axis, which OpenCV drops from grey images."""
    return pixels.reshape(*pixels.shape[:2], channels)


def _channels(pixels: Pixels) -> int:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        raise ValueError(f"pixels {pixels.dtype} {list(pixels.shape)}: must be uint8 [H, W, 3] or [H, W, 1]")
    channels: int = pixels.shape[2]
    return channels
