"""Decoding against Pillow, and refusal of damage."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from partialfc.data.images.codec import Pixels, check, decode, encode_jpeg, encode_png, resize
from partialfc.data.images.header import read_size
from partialfc.errors import ImageError
from tests.data.images.scene import RGB, encoded, scene


def by_pillow(data: bytes, mode: str = "RGB") -> Pixels:
    return np.asarray(Image.open(io.BytesIO(data)).convert(mode))


@pytest.mark.parametrize(
    "options", [{"quality": 95}, {"quality": 50, "subsampling": 0}, {"progressive": True}]
)
def test_jpeg_is_pixel_for_pixel_what_pillow_gives(options: dict[str, Any]) -> None:
    data = encoded(RGB, "JPEG", **options)
    assert np.array_equal(decode(data), by_pillow(data))


def test_grey_and_colour_jpeg_convert_as_asked() -> None:
    grey = encoded(RGB.convert("L"), "JPEG", quality=95)
    assert np.array_equal(decode(grey), by_pillow(grey))
    assert np.array_equal(decode(grey, channels=1)[:, :, 0], by_pillow(grey, "L"))
    colour = encoded(RGB, "JPEG", quality=95)
    luma = decode(colour, channels=1)
    assert luma.shape == (48, 48, 1)
    assert np.abs(luma[:, :, 0].astype(int) - by_pillow(colour, "L")).max() <= 2


def test_cmyk_jpeg_becomes_rgb_or_grey() -> None:
    data = encoded(RGB.convert("CMYK"), "JPEG", quality=95)
    assert np.abs(decode(data).astype(int) - by_pillow(data)).max() <= 2
    assert np.abs(decode(data, channels=1)[:, :, 0].astype(int) - by_pillow(data, "L")).max() <= 3
    with pytest.raises(ImageError, match="damaged JPEG"):
        decode(data[: len(data) // 2])


@pytest.mark.parametrize(
    "image",
    [RGB, RGB.convert("L"), RGB.convert("1"), RGB.convert("P"), RGB.quantize(3)],
    ids=["rgb", "grey", "one bit", "palette", "two-bit palette"],
)
def test_png_is_pixel_for_pixel_what_pillow_gives(image: Image.Image) -> None:
    data = encoded(image, "PNG")
    assert np.array_equal(decode(data), by_pillow(data))
    assert np.abs(decode(data, channels=1)[:, :, 0].astype(int) - by_pillow(data, "L")).max() <= 1


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_dropped(mode: str) -> None:
    image = RGB.convert(mode)
    image.putalpha(Image.fromarray(scene(1)[:, :, 0]))
    assert np.array_equal(
        decode(encoded(image, "PNG")), np.asarray(RGB.convert("L" if mode == "LA" else "RGB").convert("RGB"))
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_png_becomes_8_bit(channels: int) -> None:
    pixels = scene(channels)
    _, data = cv2.imencode(".png", pixels[:, :, ::-1].astype(np.uint16) * 257)
    assert np.array_equal(decode(data.tobytes(), channels=channels), pixels)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_exif_rotation_is_not_applied(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = RGB.resize((40, 20))
    assert decode(encoded(image, kind, exif=exif)).shape == (20, 40, 3)


OTHERS = {
    "bmp": encoded(RGB, "BMP"),
    "bmp of one bit": encoded(RGB.convert("1"), "BMP"),
    "bmp with a palette": encoded(RGB.convert("P"), "BMP"),
    "webp": encoded(RGB, "WEBP"),
    "webp without loss": encoded(RGB, "WEBP", lossless=True),
    "ppm": encoded(RGB, "PPM"),
    "pgm": encoded(RGB.convert("L"), "PPM"),
    "pbm": encoded(RGB.convert("1"), "PPM"),
    "pgm with a comment": b"P5 # by hand\n4 #wide\n2\n255\n" + bytes(range(0, 160, 20)),
    "pgm as text": b"P2\n4 2\n255\n0 20 40 60\n80 100 120 140\n",
}


@pytest.mark.parametrize("data", OTHERS.values(), ids=OTHERS)
def test_bmp_webp_and_netpbm_are_what_pillow_gives(data: bytes) -> None:
    assert np.array_equal(decode(data), by_pillow(data))
    assert np.abs(decode(data, channels=1)[:, :, 0].astype(int) - by_pillow(data, "L")).max() <= 1
    check(data)
    assert read_size(data) == decode(data).shape[:2]


@pytest.mark.parametrize("read", [decode, check])
def test_every_truncation_is_refused(read: Callable[[bytes], Any]) -> None:
    for data in (
        encoded(RGB, "JPEG"),
        encoded(RGB, "JPEG", progressive=True),
        encoded(RGB, "PNG"),
        *OTHERS.values(),
    ):
        for size in range(0, len(data) - 1, 7):
            with pytest.raises(ImageError):
                read(data[:size])
        with pytest.raises(ImageError):
            read(data[:-1])


@pytest.mark.parametrize("read", [decode, check])
def test_damage_inside_is_refused_where_others_return_half_an_image(read: Callable[[bytes], Any]) -> None:
    data = encoded(RGB, "JPEG", quality=95)
    middle = len(data) * 2 // 3
    for hole in (bytes(100), b"\xff\xd9"):
        damaged = data[:middle] + hole + data[middle + len(hole) :]
        assert by_pillow(damaged).shape == (48, 48, 3), "Pillow says nothing"
        with pytest.raises(ImageError, match=f"damaged JPEG of {len(data)} bytes: "):
            read(damaged)
    data = encoded(RGB, "PNG")
    for place in range(30, len(data) - 16, 11):
        with pytest.raises(ImageError, match="damaged"):
            read(data[:place] + bytes([data[place] ^ 0x11]) + data[place + 1 :])


@pytest.mark.parametrize(
    "data", [b"\xff\xd8", b"<html>not found</html>", encoded(RGB, "GIF"), encoded(RGB, "TIFF")]
)
def test_other_data_is_refused(data: bytes) -> None:
    for read in (decode, check):
        with pytest.raises(ImageError, match=f"no JPEG, PNG, BMP, WebP or PGM: {len(data)} bytes"):
            read(data)


@pytest.mark.parametrize("read", [decode, check])
def test_an_empty_file_is_refused(read: Callable[[bytes], Any]) -> None:
    with pytest.raises(ImageError, match="the file is empty"):
        read(b"")


@pytest.mark.parametrize(
    "data",
    [
        encoded(RGB, "JPEG", progressive=True),
        encoded(RGB.convert("L"), "JPEG"),
        encoded(RGB.convert("CMYK"), "JPEG"),
        encoded(RGB, "JPEG") + b"more",
        encoded(RGB.convert("P"), "PNG"),
        encoded(RGB.convert("RGBA"), "PNG"),
    ],
    ids=["progressive", "grey", "cmyk", "bytes behind the end", "palette", "alpha"],
)
def test_the_check_passes_what_decodes(data: bytes) -> None:
    decode(data)
    check(data)


def test_a_png_of_absurd_size_is_refused() -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 2**20, 2**20, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    with pytest.raises(ImageError, match="1048576 x 1048576 pixels"):
        decode(b"\x89PNG\r\n\x1a\n" + chunk + bytes(1000))


STARTS = [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"RIFF\x40\0\0\0WEBPVP8X", b"P5 ", b""]


@given(data=st.binary(max_size=60), start=st.sampled_from(STARTS))
@settings(max_examples=100, deadline=None)
def test_garbage_is_an_image_error_whatever_it_holds(data: bytes, start: bytes) -> None:
    with pytest.raises(ImageError):
        decode(start + data)


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_channels_must_be_1_or_3(channels: int) -> None:
    with pytest.raises(ValueError, match=f"channels {channels}: must be 3"):
        decode(encoded(RGB, "PNG"), channels=channels)


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_encoded_decodes(channels: int) -> None:
    pixels = scene(channels)
    for view in (pixels, pixels[::-1, ::2]):
        assert np.array_equal(decode(encode_png(view), channels=channels), view)
        assert np.abs(decode(encode_jpeg(view), channels=channels).astype(int) - view).mean() < 2
    assert len(encode_jpeg(pixels, quality=30)) < len(encode_jpeg(pixels, quality=95))


@pytest.mark.parametrize("pixels", [scene()[:, :, 0], scene().astype(np.float32), scene()[:, :, :2]])
def test_only_uint8_grey_or_rgb_is_encoded(pixels: Any) -> None:
    for encode in (encode_png, encode_jpeg):
        with pytest.raises(ValueError, match=r"must be uint8 \[H, W, 3\] or \[H, W, 1\]"):
            encode(pixels)


@pytest.mark.parametrize("quality", [0, 101])
def test_quality_has_a_range(quality: int) -> None:
    with pytest.raises(ValueError, match=f"quality {quality}: must be 1..100"):
        encode_jpeg(scene(), quality=quality)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [20, 48, 112])
def test_resize_keeps_the_picture(channels: int, size: int) -> None:
    pixels = scene(channels)
    resized = resize(pixels, size)
    assert (resized.shape, resized.dtype) == ((size, size, channels), np.uint8)
    assert np.abs(resized.astype(int) - scene(channels, size)).max() <= 8
    assert (resized is pixels) == (size == 48)


def test_resize_takes_any_shape_but_no_empty_size() -> None:
    assert resize(scene()[:20], 32).shape == (32, 32, 3)
    with pytest.raises(ValueError, match="size 0"):
        resize(scene(), 0)


@pytest.mark.parametrize("before", [True, False], ids=["before", "behind"])
@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt"])
def test_the_compressed_texts_of_a_png_are_not_unpacked(
    kind: bytes, before: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    """libpng would, to a thousand times as many bytes; and warn of broken ones."""
    head = b"note\0\0" if kind == b"zTXt" else b"note\0\1\0\0\0"
    broken = head + b"no stream of zlib"
    text = struct.pack(">I", len(broken)) + kind + broken + struct.pack(">I", zlib.crc32(kind + broken))
    plain = encoded(RGB, "PNG")
    place = plain.index(b"IDAT") - 4 if before else plain.index(b"IEND") - 4
    noted = plain[:place] + text * 3 + plain[place:]
    assert np.array_equal(decode(noted), decode(plain))
    assert not capfd.readouterr().err
    with pytest.raises(ImageError):
        decode(noted[: place + 5])
