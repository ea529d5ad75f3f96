"""Images that a viewer shows in another way than they are decoded."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from partialfc.data.images.codec import decode
from partialfc.data.images.not_shown import is_transparent, is_turned

PIXELS = np.random.default_rng(0).integers(256, size=(6, 5, 4), dtype=np.uint8)


def encoded(kind: str, mode: str = "RGB", *, alpha: int = 255, orientation: int | None = None) -> bytes:
    pixels = PIXELS.copy()
    pixels[..., 3] = 255
    pixels[2, 3, 3] = alpha
    how: dict[str, Any] = {}
    if orientation is not None:
        how["exif"] = Image.Exif()
        how["exif"][0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(pixels, "RGBA").convert(mode).save(
        file, kind, **how, **({"lossless": True} if kind == "WebP" else {})
    )
    return file.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP"])
def test_a_rotation_is_seen(kind: str) -> None:
    assert [each for each in range(1, 9) if is_turned(encoded(kind, orientation=each))] == [*range(2, 9)]
    assert not is_turned(encoded(kind))
    turned, upright = encoded(kind, orientation=6), encoded(kind)
    assert np.array_equal(decode(turned), decode(upright))


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "RGBA"), ("PNG", "LA"), ("WebP", "RGBA")])
def test_transparency_is_seen_and_an_alpha_that_hides_nothing_is_not(kind: str, mode: str) -> None:
    assert is_transparent(encoded(kind, mode, alpha=254))
    assert is_transparent(encoded(kind, mode, alpha=0))
    assert not is_transparent(encoded(kind, mode, alpha=255))
    assert not is_transparent(encoded(kind, "RGB"))


def test_a_transparent_colour_of_a_palette_is_seen() -> None:
    file = io.BytesIO()
    Image.fromarray(PIXELS[..., :3]).quantize(8).save(file, "PNG", transparency=1)
    assert is_transparent(file.getvalue())


@pytest.mark.parametrize(
    "data", [b"", b"Exif\0\0", b"RIFF" + bytes(40), b"\x89PNG\r\n\x1a\n" + b"tRNS" * 9, b"eXIf"]
)
def test_damage_is_nothing_to_be_seen(data: bytes) -> None:
    assert not is_turned(data)
    assert not is_transparent(data)
