"""Which images a request may have, and what is told of those that it may not have."""

import pytest

from partialfc.data.images.opencv import cv2
from partialfc.serving.service.pixels import pixels_of
from partialfc.serving.service.problem import Problem
from tests.serving.service.cases import jpeg, picture

RULE = "must be a whole JPEG, PNG, BMP or WebP"


def encoded(suffix: str) -> bytes:
    return bytes(cv2.imencode(suffix, picture(0))[1])


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp"])
def test_what_is_taken(suffix: str) -> None:
    assert pixels_of([encoded(suffix)], size=8, channels=3, max_pixels=10_000).shape == (1, 8, 8, 3)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"P5 4 4 255 " + bytes(16), "27 bytes that start with b'P5"),
        (b"P6 4 4 255 " + bytes(48), "59 bytes that start with b'P6"),
        (b"P4 8 4 " + bytes(4), "11 bytes that start with b'P4"),
        (encoded(".tiff"), "bytes that start with b'II*"),
        (b"", "0 bytes"),
        (jpeg(0)[:40], "damaged image of 40 bytes: "),
        (jpeg(0)[:-40], "damaged JPEG of "),
        (encoded(".png")[:20], "damaged image of 20 bytes: "),
        (encoded(".png")[:-40], "damaged image of "),
    ],
    ids=["pgm", "ppm", "pbm", "tiff", "empty", "cut-jpeg-head", "cut-jpeg", "cut-png-head", "cut-png"],
)
def test_what_is_refused_is_told_once(data: bytes, value: str) -> None:
    with pytest.raises(Problem) as refused:
        pixels_of([encoded(".png"), data], size=8, channels=3, max_pixels=10_000)
    assert (refused.value.status, refused.value.field, refused.value.rule) == (422, "image 1", RULE)
    told = str(refused.value.value)
    assert value in told
    assert told.count("bytes") == 1
    assert "PGM" not in told


def test_images_are_decoded_while_somebody_waits_for_them() -> None:
    """A request whose time is over takes no more of it from the others."""
    answers = iter([True, False])
    images = [encoded(".png"), b"no image"]
    decoded = pixels_of(images, size=8, channels=3, max_pixels=10_000, wanted=lambda: next(answers))
    alone = pixels_of(images[:1], size=8, channels=3, max_pixels=10_000)
    assert (decoded[0] == alone[0]).all()
