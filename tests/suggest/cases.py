"""Folders of images as users have them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from partialfc.data.images.codec import Pixels, encode_jpeg, encode_png

Encode = Callable[[Pixels], bytes]


def picture(seed: int, *, side: tuple[int, int] = (12, 12), channels: int = 1) -> Pixels:
    """Random pixels of few levels, as an image of a class."""
    generator = np.random.default_rng(seed)
    return generator.integers(60, 200, (*side, channels), dtype=np.uint8)


def write_images(
    folder: Path,
    classes: int,
    images: int,
    *,
    side: tuple[int, int] = (12, 12),
    channels: int = 1,
    encode: Encode = encode_png,
    first: int = 0,
) -> Path:
    """`images` noisy copies of one picture in each of `classes` folders, whose numbers begin at `first`."""
    suffix = "jpg" if encode is encode_jpeg else "png"
    for label in range(first, first + classes):
        own = folder / f"class-{label:03d}"
        own.mkdir(parents=True)
        base = picture(label, side=side, channels=channels).astype(np.int16)
        for number in range(images):
            noise = np.random.default_rng((label, number)).integers(-20, 20, base.shape)
            pixels = (base + noise).clip(0, 255).astype(np.uint8)
            (own / f"{number}.{suffix}").write_bytes(encode(pixels))
    return folder
