"""Encoded images to the pixels that a model takes."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from partialfc.data.images.codec import decode, resize
from partialfc.data.images.header import BMP, JPEG, PNG, WEBP, read_size
from partialfc.errors import ImageError
from partialfc.serving.service.problem import Problem, unprocessable

TAKEN = "must be a whole JPEG, PNG, BMP or WebP"


def pixels_of(
    images: Sequence[bytes],
    *,
    size: int,
    channels: int,
    max_pixels: int,
    wanted: Callable[[], bool] = lambda: True,
) -> npt.NDArray[np.uint8]:
    """n encoded images -> uint8 [n, size, size, channels].

    wanted: whether anybody waits for them, asked before each image; the others are left empty then.

    Raises Problem, 422, which names the first image by its index that has more than `max_pixels`, before it
    is decoded, or that cannot be decoded.
    """
    decoded = np.empty((len(images), size, size, channels), np.uint8)
    for index, data in enumerate(images):
        if not wanted():
            break
        if not data.startswith((JPEG, PNG, BMP, WEBP)):
            start = f" that start with {data[:8]!r}" if data else ""
            raise _refused(index, f"{len(data)} bytes{start}", TAKEN)
        try:
            height, width = read_size(data)
            if height * width > max_pixels:
                rule = f"must have at most {max_pixels} pixels (--max-pixels)"
                raise _refused(index, f"{width} x {height} pixels", rule)
            decoded[index] = resize(decode(data, channels=channels, max_pixels=max_pixels), size)
        except ImageError as error:
            raise _refused(index, str(error), TAKEN) from error
    return decoded


def _refused(index: int, value: str, rule: str) -> Problem:
    return unprocessable(f"image {index}", value, rule)
