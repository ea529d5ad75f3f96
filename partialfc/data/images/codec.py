"""Encoded images to pixels and back: uint8 [H, W, C], RGB or grey.

JPEG goes through simplejpeg (libjpeg-turbo): its strict mode refuses damage inside the stream, where Pillow
and OpenCV return a half-grey image. All else and resampling go through OpenCV, which refuses what was cut
short. benchmarks/decode.py compares them.
"""

import io
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image

from partialfc.data.images.header import JPEG, MAX_PIXELS, PNG, check_cost
from partialfc.data.images.opencv import cv2, silence_opencv
from partialfc.errors import ImageError

Pixels = npt.NDArray[np.uint8]

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".pgm", ".ppm", ".pbm", ".pnm")
_PNG_END = b"IEND\xaeB`\x82"
_TEXTS = (b"zTXt", b"iTXt")  # chunks of a PNG


def decode(data: bytes, *, channels: int = 3, max_pixels: int = MAX_PIXELS) -> Pixels:
    """JPEG, PNG, BMP, WebP or Netpbm (PGM, PPM, PBM) -> uint8 [H, W, channels], RGB for 3 and grey for 1.

    Colour becomes grey and grey colour as asked; alpha is dropped, 16 bits become 8, EXIF rotation is not
    applied. ImageError on damage, and where the header claims more than `max_pixels`, or a JPEG has more than
    MAX_SCANS: before memory is taken.
    """
    if channels not in (1, 3):
        raise ValueError(f"channels {channels}: must be 3 (RGB) or 1 (grey)")
    check_cost(data, max_pixels)
    if data.startswith(JPEG):
        return _decode_jpeg(data, channels)
    return _decode_any(_without_texts(data) if data.startswith(PNG) else data, channels)


def check(data: bytes, *, max_pixels: int = MAX_PIXELS) -> None:
    """Raise ImageError where `decode` would; for JPEG and PNG in about half the time.

    A JPEG's stream is read to its end, but only one pixel in 64 is computed; of a PNG the checksums are
    compared. What fails here is decoded, so that `decode` has the last word and writes the message.
    """
    check_cost(data, max_pixels)
    try:
        if data.startswith(JPEG):
            simplejpeg.decode_jpeg(data, "GRAY", fastdct=True, min_height=1, min_width=1, strict=True)
            return
        if data.startswith(PNG) and _PNG_END in data:  # Pillow does not check this last part
            with Image.open(io.BytesIO(data)) as image:
                image.verify()
            return
    except Exception:  # a damaged file makes Pillow raise errors of many kinds
        pass
    decode(data, max_pixels=max_pixels)


def problem(data: bytes, *, max_pixels: int = MAX_PIXELS) -> ImageError | None:
    """The error that `check` raises, if any."""
    try:
        check(data, max_pixels=max_pixels)
    except ImageError as error:
        return error
    return None


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


def _decode_jpeg(data: bytes, channels: int) -> Pixels:
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(data, "RGB" if channels == 3 else "GRAY", strict=True)
        return pixels
    except ValueError as error:
        damage = error
    try:  # CMYK, as used for print: simplejpeg can check it, but only OpenCV can convert it
        simplejpeg.decode_jpeg(data, "CMYK", strict=True)
    except ValueError:
        raise ImageError(f"damaged JPEG of {len(data)} bytes: {damage}") from damage
    return _decode_any(data, channels)


def _decode_any(data: bytes, channels: int) -> Pixels:
    silence_opencv()
    colour = cv2.IMREAD_COLOR_RGB if channels == 3 else cv2.IMREAD_GRAYSCALE
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), colour | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:  # a size beyond OpenCV's limits
        raise ImageError(f"damaged image of {len(data)} bytes: {error}") from error
    if pixels is None:
        raise ImageError(f"damaged image of {len(data)} bytes")
    return _shaped(pixels, channels)


def _without_texts(png: bytes) -> bytes:
    """A PNG without its compressed texts, which libpng would unpack, to a thousand times as many bytes."""
    if not any(kind in png for kind in _TEXTS):
        return png
    kept, start, end = list[bytes](), 0, len(PNG)
    while end + 8 <= len(png):
        length, kind = struct.unpack_from(">I4s", png, end)
        after = end + 12 + length  # its checksum is of 4 bytes
        if kind in _TEXTS:
            kept.append(png[start:end])
            start = after
        end = after
    return b"".join([*kept, png[start:]])


def _shaped(pixels: npt.NDArray[Any], channels: int) -> Pixels:
    """Puts back the channel axis, which OpenCV drops from grey images."""
    return pixels.reshape(*pixels.shape[:2], channels)


def _channels(pixels: Pixels) -> int:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        raise ValueError(f"pixels {pixels.dtype} {list(pixels.shape)}: must be uint8 [H, W, 3] or [H, W, 1]")
    channels: int = pixels.shape[2]
    return channels
