"""Sizes from headers, and the bound on them: before a decoder takes memory."""

import resource
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from partialfc.data.images.codec import check, decode
from partialfc.data.images.header import read_size
from partialfc.errors import ImageError
from tests.data.images.scene import RGB, encoded, scene


def test_webp_with_alpha_and_bmp_from_the_top_down_have_their_size_read() -> None:
    image = RGB.resize((40, 20))
    image.putalpha(Image.fromarray(scene(1)[:20, :40, 0]))
    data = encoded(image, "WEBP")
    assert data[12:16] == b"VP8X"
    assert read_size(data) == decode(data).shape[:2] == (20, 40)
    upright = bytearray(encoded(RGB.resize((40, 20)), "BMP"))
    upright[22:26] = struct.pack("<i", -20)
    assert read_size(bytes(upright)) == decode(bytes(upright)).shape[:2] == (20, 40)


@pytest.mark.parametrize("kind", ["P2", "P5", "P6"])
def test_netpbm_of_other_levels_is_refused_rather_than_dark(kind: str) -> None:
    with pytest.raises(ImageError, match="largest value is 15: it must be 255 or 65535"):
        decode(f"{kind} 2 1 15\n".encode() + b"0 9   ")


def claiming(width: int, height: int) -> dict[str, bytes]:
    """Small files whose headers claim this size, by format."""
    jpeg, png, bmp = (bytearray(encoded(RGB, kind)) for kind in ("JPEG", "PNG", "BMP"))
    progressive = bytearray(encoded(RGB, "JPEG", progressive=True))
    for data, marker in ((jpeg, b"\xff\xc0"), (progressive, b"\xff\xc2")):
        start = data.index(marker) + 5
        data[start : start + 4] = struct.pack(">HH", height, width)
    png[16:24] = struct.pack(">II", width, height)
    png[29:33] = struct.pack(">I", zlib.crc32(png[12:29]))
    bmp[18:26] = struct.pack("<ii", width, -height)
    image = RGB.copy()
    image.putalpha(Image.fromarray(scene(1)[:, :, 0]))
    webp = bytearray(encoded(image, "WEBP"))
    webp[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return {
        "jpeg": bytes(jpeg),
        "progressive jpeg": bytes(progressive),
        "png": bytes(png),
        "bmp": bytes(bmp),
        "webp": bytes(webp),
        "pgm": b"P5\n%d %d\n255\n" % (width, height),
        "ppm": b"P6 #c\n%d\n%d 255\n" % (width, height),
        "pbm": b"P4 %d %d\n" % (width, height),
    }


@pytest.mark.parametrize("read", [decode, check])
@pytest.mark.parametrize("kind", claiming(1, 1))
def test_a_header_that_claims_too_much_is_refused_before_memory_is_taken(
    kind: str, read: Callable[[bytes], Any]
) -> None:
    data = claiming(65_500, 65_400)[kind]
    assert len(data) < 10_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageError, match=r"65500 x 65400 pixels by its header: .* 64,000,000 \(max_pixels\)"):
        read(data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "kilobytes"


@pytest.mark.parametrize("read", [decode, check])
def test_the_bound_is_the_callers(read: Callable[..., Any]) -> None:
    data = encoded(RGB, "PNG")
    read(data, max_pixels=48 * 48)
    with pytest.raises(ImageError, match="48 x 48 pixels by its header"):
        read(data, max_pixels=48 * 48 - 1)


@pytest.mark.parametrize("start", [b"\x89PNG\r\n\x1a\n", b"BM", b"RIFF", b"RIFF\0\0\0\0WEBPVP8X"])
def test_a_header_that_is_cut_short_is_damage(start: bytes) -> None:
    with pytest.raises(ImageError, match=r"damaged image of .* (header is cut short|it is no WebP)"):
        read_size(start)


def jpeg_of_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan stands there again, so that it has so many; about ten are usual."""
    data = encoded(RGB.convert("L"), "JPEG", progressive=True)
    last, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    return data[:end] + data[last:end] * (count - data.count(b"\xff\xda")) + data[end:]


@pytest.mark.parametrize("read", [decode, check])
def test_a_jpeg_of_very_many_scans_is_refused_before_its_decoder_goes_over_all_pixels_for_each(
    read: Callable[..., Any],
) -> None:
    """Some megabytes of them would take minutes."""
    with pytest.raises(ImageError, match=r"JPEG of .* bytes with over 100 scans: save it with fewer"):
        read(jpeg_of_scans(101))


def test_what_follows_a_jpeg_or_stands_in_its_notes_is_no_scan_of_it() -> None:
    """Phones put a film behind a photo, with any bytes."""
    data = encoded(RGB, "JPEG", progressive=True)
    noise = b"\xff\xda" * 1000
    note = b"\xff\xe5" + struct.pack(">H", len(noise) + 2) + noise
    assert np.array_equal(decode(data[:2] + note + data[2:] + noise), decode(data))
