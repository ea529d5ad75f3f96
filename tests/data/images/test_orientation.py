"""A photo turned upright, as Pillow turns it."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from partialfc.data.images.codec import decode
from partialfc.data.images.orientation import upright
from tests.data.images.scene import scene


def photo(orientation: int | str, kind: str = "PNG") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(scene(size=40)[:24]).save(file, kind, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_as_pillow_turns_it(orientation: int, kind: str) -> None:
    data = photo(orientation, kind)
    turned = upright(decode(data), data)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert turned.flags.c_contiguous
    assert turned.shape == expected.shape
    assert np.abs(turned.astype(int) - expected).max() <= (0 if kind == "PNG" else 2)


def test_without_an_orientation_it_stays_as_it_is() -> None:
    for data in (photo(0), photo(9)):
        assert np.array_equal(upright(decode(data), data), decode(data))
    pixels = scene()
    assert np.array_equal(upright(pixels, b"no image"), pixels)
