"""Augmentation: a pure function of its generator, each option doing what it says."""

from typing import Any

import numpy as np
import pytest

from partialfc.data.augmentation import Augment, augment
from partialfc.data.images import Pixels
from tests.test_images import scene

EVERYTHING = Augment(flip=True, shift=0.1, scale=0.1, rotate=15)


def test_no_options_return_the_input_itself() -> None:
    pixels = scene()
    assert augment(pixels, np.random.default_rng(0), Augment(fill=7)) is pixels


@pytest.mark.parametrize("channels", [1, 3])
def test_augmentation_is_a_pure_function_of_the_generator(channels: int) -> None:
    pixels = scene(channels)
    before = pixels.copy()
    first, again, other = (augment(pixels, np.random.default_rng(seed), EVERYTHING) for seed in (1, 1, 2))
    assert np.array_equal(pixels, before)
    assert (first.shape, first.dtype) == (pixels.shape, np.uint8)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_flip_is_exact_and_happens_every_other_time() -> None:
    pixels = scene()
    rng = np.random.default_rng(0)
    flipped = 0
    for _ in range(400):
        result = augment(pixels, rng, Augment(flip=True))
        mirrored = np.array_equal(result, pixels[:, ::-1])
        assert mirrored or np.array_equal(result, pixels)
        flipped += mirrored
    assert 150 < flipped < 250


def centre_of_mass(pixels: Pixels) -> tuple[float, float, float]:
    y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    mass = pixels[:, :, 0].astype(float)
    return (mass * x).sum() / mass.sum(), (mass * y).sum() / mass.sum(), mass.sum() / 255


def dots(options: Augment, *, at: tuple[int, int], count: int = 200) -> np.ndarray:
    """`count` times x, y and area of where a 5 x 5 dot at `at` on a black 41 x 41 picture ends up."""
    pixels = np.zeros((41, 41, 1), np.uint8)
    pixels[at[1] - 2 : at[1] + 3, at[0] - 2 : at[0] + 3] = 255
    rng = np.random.default_rng(0)
    return np.array([centre_of_mass(augment(pixels, rng, options)) for _ in range(count)])


def test_a_shift_moves_up_to_its_share_in_every_direction() -> None:
    x, y, _ = dots(Augment(shift=0.2), at=(20, 20)).T
    for moved in (x - 20, y - 20):
        assert -8.3 < moved.min() < -7
        assert 7 < moved.max() < 8.3
    assert abs(np.corrcoef(x, y)[0, 1]) < 0.2


def test_a_scale_grows_and_shrinks_about_the_centre() -> None:
    x, y, area = dots(Augment(scale=0.3), at=(20, 20)).T
    assert np.abs(x - 20).max() < 0.1
    assert np.abs(y - 20).max() < 0.1
    factor = np.sqrt(area / 25)
    assert 0.6 < factor.min() < 0.8
    assert 1.2 < factor.max() < 1.4


def test_a_rotation_turns_about_the_centre_by_up_to_its_angle() -> None:
    x, y, _ = dots(Augment(rotate=30), at=(32, 20)).T
    assert np.abs(np.hypot(x - 20, y - 20) - 12).max() < 0.3
    angle = np.degrees(np.arctan2(y - 20, x - 20))
    assert -31 < angle.min() < -27
    assert 27 < angle.max() < 31


def test_what_comes_in_from_outside_is_the_fill_or_the_border_mean() -> None:
    pixels = np.full((20, 20, 3), 200, np.uint8)
    pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1] = 10, 10, 30, 30
    pixels[:, :, 2] = 77
    options = {"shift": 0.9}
    rows = [augment(pixels, np.random.default_rng(3), Augment(**options, fill=fill)) for fill in (None, 5)]
    mean = round((36 * 10 + 40 * 30) / 76)
    corners = {tuple(corner) for row in rows for corner in (row[0, 0].tolist(), row[-1, -1].tolist())}
    assert {(mean, mean, 77), (5, 5, 5)} <= corners


def test_wide_and_tiny_images_keep_their_shape() -> None:
    for shape in ((10, 30, 3), (1, 1, 1), (2, 5, 3)):
        pixels = np.zeros(shape, np.uint8)
        assert augment(pixels, np.random.default_rng(0), EVERYTHING).shape == shape


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shift": -0.1}, r"shift -0.1: must be 0\.\.1"),
        ({"shift": 1.5}, r"shift 1.5: must be 0\.\.1"),
        ({"scale": 1.0}, r"scale 1.0: must be 0\.\.0\.9"),
        ({"rotate": 181}, r"rotate 181: must be 0\.\.180"),
        ({"rotate": float("nan")}, "rotate nan"),
        ({"fill": 256}, r"fill 256: must be 0\.\.255, or None"),
        ({"fill": -1}, "fill -1"),
    ],
)
def test_options_out_of_range_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augment(**options)
