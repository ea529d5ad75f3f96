"""What a viewer does with an image and `decode` does not: turn it as its EXIF data says, mix in its alpha."""

import io
from collections.abc import Callable

from PIL import ExifTags, Image

from partialfc.data.images.header import PNG, WEBP

_UPRIGHT = 1  # of EXIF's orientations, 1 to 8
_MAY_BE_TURNED = (b"Exif\0\0", b"eXIf", b"EXIF")  # in a JPEG, a PNG, a WebP that has EXIF data


def is_turned(data: bytes) -> bool:
    """Whether a viewer shows it turned or mirrored. Data that cannot be read is not."""
    if not any(mark in data for mark in _MAY_BE_TURNED):
        return False
    return _seen(data, lambda image: image.getexif().get(ExifTags.Base.Orientation, _UPRIGHT) in range(2, 9))


def is_transparent(data: bytes) -> bool:
    """Whether what lies behind it shows through some pixel. Data that cannot be read does not."""
    if not (
        data.startswith(WEBP) or (data.startswith(PNG) and (data[25:26] in (b"\4", b"\6") or b"tRNS" in data))
    ):
        return False
    return _seen(data, lambda image: image.has_transparency_data and _least_alpha(image) < 255)


def _least_alpha(image: Image.Image) -> int:
    least, _ = image.convert("RGBA").getchannel("A").getextrema()
    assert isinstance(least, int)
    return least


def _seen(data: bytes, look: Callable[[Image.Image], bool]) -> bool:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return look(image)
    except Exception:  # Pillow raises errors of many kinds for damage, of which `decode` has the last word
        return False
