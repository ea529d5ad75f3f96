"""A picture to decode and to augment."""

import io
from typing import Any

import numpy as np
from PIL import Image

from partialfc.data.images.codec import Pixels


def scene(channels: int = 3, size: int = 48) -> Pixels:
    """A smooth picture that differs in every direction and channel."""
    y, x = np.mgrid[:size, :size] / size
    planes = [200 * x, 200 * y, 60 + 100 * x * y][:channels]
    return np.stack(planes, axis=2).astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


RGB = Image.fromarray(scene())
