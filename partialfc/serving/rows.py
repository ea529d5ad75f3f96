"""Embeddings as rows of norm 1, whose product is the cosine."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from partialfc.errors import DataError

Rows = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]
Name = Callable[[int], str]


def numbered(index: int) -> str:
    """An image's name where it has no other."""
    return f"image {index}"


def unit_rows(rows: npt.NDArray[Any], name: Name = numbered) -> Rows:
    """Floats [n, D] -> the rows with norm 1, float32. name: of a row, for messages.

    Raises DataError for a row that is zero or not finite, which has no direction.
    """
    rows = rows.astype(np.float32, copy=False)
    largest = np.abs(rows).max(axis=1, keepdims=True, initial=0.0)
    bad = np.flatnonzero(~(np.isfinite(largest) & (largest > 0)))
    if bad.size:
        raise DataError(
            f"the embedding of {name(int(bad[0]))} is zero or not finite, so it has no direction: look at "
            "that image, or at the network's weights"
        )
    scaled = rows / largest  # so that no square is too large or too small for float32
    unit: Rows = scaled / np.linalg.norm(scaled, axis=1, keepdims=True)
    return unit


def cosine(first: Rows, second: Rows) -> float:
    """The cosine of two unit rows [D], -1 to 1."""
    return float(np.clip(first.astype(np.float64) @ second.astype(np.float64), -1, 1))


def check_pixels(images: npt.NDArray[Any], *, size: int, channels: int) -> None:
    """ValueError unless these are uint8 [n, size, size, channels]."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (size, size, channels):
        wanted = f"uint8 [n, {size}, {size}, {channels}]"
        raise ValueError(f"images are {images.dtype} {list(images.shape)}; they must be {wanted}")
