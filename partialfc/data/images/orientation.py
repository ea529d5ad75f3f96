"""Which way up a camera held a photo, as EXIF says, which decoders leave alone."""

import io

import numpy as np
from PIL import Image

from partialfc.data.images.codec import Pixels

_TAG = 0x0112


def upright(pixels: Pixels, data: bytes) -> Pixels:
    """The decoded pixels [H, W, C] of an encoded image, turned as its EXIF orientation (1 to 8) asks.

    An image without one, or with EXIF that cannot be read, is upright as it is.
    """
    match _orientation(data):
        case 2:
            pixels = pixels[:, ::-1]
        case 3:
            pixels = pixels[::-1, ::-1]
        case 4:
            pixels = pixels[::-1]
        case 5:
            pixels = pixels.transpose(1, 0, 2)
        case 6:
            pixels = np.rot90(pixels, -1)
        case 7:
            pixels = pixels[::-1, ::-1].transpose(1, 0, 2)
        case 8:
            pixels = np.rot90(pixels)
    return np.ascontiguousarray(pixels)


def _orientation(data: bytes) -> int:
    try:
        with Image.open(io.BytesIO(data)) as image:
            found = image.getexif().get(_TAG, 1)
    except Exception:  # damaged EXIF makes Pillow raise errors of many kinds; the pixels are fine without it
        return 1
    return found if isinstance(found, int) else 1
