"""Augmentation: a pure function of its generator, each option doing what it says."""

from typing import Any

import numpy as np
import pytest

from partialfc.data.images.augmentation import LUMA, Augment, augment, draw
from partialfc.data.images.codec import Pixels
from tests.data.images.scene import scene

MOVES = Augment(flip=True, shift=0.1, scale=0.1, rotate=15)
EVERYTHING = Augment(
    flip=True,
    shift=0.1,
    scale=0.1,
    rotate=15,
    brightness=0.3,
    contrast=0.3,
    saturation=0.3,
    low_resolution=0.5,
)


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


def test_other_options_leave_a_draw_as_it_was() -> None:
    """A run that turns one option on keeps what the others draw, as it keeps its seed."""
    for seed in range(20):
        rngs = (np.random.default_rng(seed) for _ in range(3))
        moved, all_on, recoloured = (
            draw(rng, options, height=40, width=30)
            for rng, options in zip(
                rngs, (MOVES, EVERYTHING, Augment(brightness=0.3, contrast=0.3)), strict=True
            )
        )
        assert np.array_equal(moved.matrix, all_on.matrix)
        assert (recoloured.brightness, recoloured.contrast) == (all_on.brightness, all_on.contrast)
        assert moved.size == recoloured.size == (40, 30)
        assert moved.brightness == moved.contrast == moved.saturation == 1


def test_a_move_is_drawn_from_five_numbers() -> None:
    """So that runs recorded before there were other options keep their images."""
    rng = np.random.default_rng(0)
    draw(rng, MOVES, height=8, width=8)
    untouched = np.random.default_rng(0)
    untouched.random(5)
    assert rng.random() == untouched.random()


def colours(options: Augment, pixel: tuple[int, ...], count: int = 300) -> np.ndarray:
    """[count, C]: what becomes of one colour."""
    pixels = np.full((2, 2, len(pixel)), pixel, np.uint8)
    rng = np.random.default_rng(0)
    return np.array([augment(pixels, rng, options)[0, 0] for _ in range(count)], np.float64)


def test_brightness_multiplies_and_clips() -> None:
    grey = colours(Augment(brightness=0.5), (100,))
    assert grey.min() in (50, 51, 52)
    assert grey.max() in (148, 149, 150)
    assert colours(Augment(brightness=1), (200,)).max() == 255


def test_contrast_stretches_about_mid_grey() -> None:
    assert np.unique(colours(Augment(contrast=0.5), (128, 128, 128))).tolist() == [128]
    stretched = colours(Augment(contrast=0.5), (28,))
    assert -0.5 <= stretched.min() <= 0.5, "128 - 1.5 * 100 is clipped to 0"
    assert 74 <= stretched.max() <= 78


def test_saturation_moves_between_grey_and_twice_the_colour() -> None:
    pixel = (180, 100, 60)
    luma = np.dot(LUMA, pixel)
    changed = colours(Augment(saturation=1), pixel)
    assert np.abs(changed @ LUMA - luma).max() < 1, "the grey stays"
    share = (changed[:, 0] - luma) / (pixel[0] - luma)
    assert 0 <= share.min() < 0.1
    assert 1.9 < share.max() < 2.1


def test_grey_images_have_no_saturation() -> None:
    assert np.unique(colours(Augment(saturation=1), (90,))).tolist() == [90]
    assert np.abs(colours(Augment(saturation=1), (90, 90, 90)) - 90).max() <= 1


@pytest.mark.parametrize("channels", [1, 3])
def test_low_resolution_blurs_as_often_as_asked_and_keeps_the_mean(channels: int) -> None:
    checks = np.indices((32, 32)).sum(axis=0) % 2 * 200
    pixels = np.repeat(checks[:, :, None], channels, axis=2).astype(np.uint8)
    rng = np.random.default_rng(0)
    options = Augment(low_resolution=0.3, low_resolution_size=0.2)
    results = [augment(pixels, rng, options) for _ in range(300)]
    blurred = [result for result in results if not np.array_equal(result, pixels)]
    assert 60 < len(blurred) < 120
    assert all(result.shape == pixels.shape for result in results)
    assert all(abs(result.mean() - 100) < 10 for result in blurred)
    deviations = [result.std() for result in blurred]
    assert max(deviations) < 100
    assert min(deviations) < 5, "a fifth of the size leaves nothing of the checks"


def test_low_resolution_draws_sizes_down_to_the_smallest() -> None:
    rng = np.random.default_rng(0)
    options = Augment(low_resolution=1, low_resolution_size=0.25)
    heights, widths = zip(*(draw(rng, options, height=40, width=80).size for _ in range(500)), strict=True)
    assert (min(heights), max(heights)) == (10, 40)
    assert (min(widths), max(widths)) == (20, 80)


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
        ({"brightness": 1.1}, r"brightness 1.1: must be 0\.\.1"),
        ({"contrast": -0.1}, r"contrast -0.1: must be 0\.\.1"),
        ({"saturation": float("inf")}, r"saturation inf: must be 0\.\.1"),
        ({"low_resolution": 2}, r"low_resolution 2: must be 0\.\.1"),
        ({"low_resolution_size": 0}, "low_resolution_size 0: must be above 0, at most 1"),
        ({"fill": 256}, r"fill 256: must be 0\.\.255, or None"),
        ({"fill": -1}, "fill -1"),
    ],
)
def test_options_out_of_range_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augment(**options)
