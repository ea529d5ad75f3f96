"""The perceptual hash: changes that keep a picture keep nearly all bits, another picture has others."""

import cv2
import numpy as np
import pytest

from partialfc.data.check.perceptual import is_flat, perceptual_hashes, reduced
from partialfc.data.images.codec import decode, encode_jpeg


def pictures(count: int = 12, *, size: int = 96) -> list[np.ndarray]:
    """Smooth pictures of random waves, each with a grain."""
    y, x = np.mgrid[:size, :size] / size
    found = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        down, across, turn = rng.uniform(-5, 5, 9), rng.uniform(-5, 5, 9), rng.uniform(0, 6, (9, 3))
        wave = 2 * np.pi * (down * y[..., None] + across * x[..., None])
        shades = 128 + 18 * np.sin(wave[..., None] + turn).sum(axis=2) + rng.normal(0, 2, (size, size, 3))
        found.append(shades.clip(0, 255).astype(np.uint8))
    return found


def hashes(images) -> np.ndarray:
    return perceptual_hashes(np.stack([reduced(image) for image in images]))


CHANGES = {
    "saved again": lambda image: decode(encode_jpeg(image, quality=60)),
    "half the size": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "brighter": lambda image: (0.9 * image + 20).astype(np.uint8),
    "grey": lambda image: decode(encode_jpeg(image, quality=90), channels=1).repeat(3, axis=2),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_picture_keeps_its_hash(change):
    images = pictures()
    differ = np.bitwise_count(hashes(images) ^ hashes(map(CHANGES[change], images)))
    assert np.median(differ) <= 2
    assert differ.max() <= 6


def test_other_pictures_and_mirrored_ones_have_other_hashes():
    images = pictures()
    own = hashes(images)
    differ = np.bitwise_count(own[:, None] ^ own[None])[~np.eye(len(own), dtype=bool)]
    assert differ.min() > 8
    assert np.bitwise_count(own ^ hashes([image[:, ::-1] for image in images])).min() > 8


def test_a_hash_is_of_the_image_alone():
    """Not of its neighbours in the batch, and of the numbers that a plain cosine transform gives."""
    images = pictures()
    one_by_one = np.concatenate([hashes([image]) for image in images])
    assert (hashes(images) == one_by_one).all()
    order = sorted(((u, v) for u in range(11) for v in range(11)), key=lambda each: (sum(each), each[0]))
    for image, found in zip(images, one_by_one, strict=True):
        grey = reduced(image).astype(np.float64) @ [0.299, 0.587, 0.114]
        values = np.rint([cv2.dct(grey)[u, v] for u, v in order[1:65]])
        wanted = sum(1 << 63 - place for place, above in enumerate(values > np.median(values)) if above)
        assert int(found) ^ wanted in (0, *(1 << bit for bit in range(64)))  # a rounding may go either way


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (32, 32), (33, 5), (300, 200)])
def test_any_size_has_a_hash(size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    assert reduced(image).shape == (32, 32, 3)
    assert hashes([image]).shape == (1,)


def test_one_colour_is_flat_and_a_picture_is_not():
    red = np.zeros((50, 50, 3), np.uint8) + np.array([250, 10, 10], np.uint8)
    assert is_flat(reduced(red))
    assert is_flat(reduced(decode(encode_jpeg(red))))
    for image in pictures():
        assert not is_flat(reduced(image))
    split = red.copy()
    split[:, 25:, 1] = 40
    assert not is_flat(reduced(split))
