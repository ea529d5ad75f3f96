"""Degradations: stronger is worse, nothing else about the image changes, and a key gives the same again."""

import itertools

import numpy as np
import pytest

from partialfc.data.images.degradations import DEGRADATIONS, degrade


def picture(channels=1, height=24, width=30):
    rows, columns = np.mgrid[:height, :width]
    wave = 128 + 100 * np.sin(rows / 2) * np.cos(columns / 3)
    return np.repeat(wave.round().astype(np.uint8)[:, :, None], channels, axis=2)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", DEGRADATIONS)
def test_the_stronger_the_further_from_the_image(kind, channels):
    pixels = picture(channels)
    kept = pixels.copy()
    far = []
    for strength in (0.0, 0.25, 0.5, 1.0):
        worse = degrade(pixels, kind, strength, np.random.default_rng(3))
        again = degrade(pixels, kind, strength, np.random.default_rng(3))
        assert worse.shape == pixels.shape
        assert worse.dtype == np.uint8
        assert np.array_equal(worse, again)
        far.append(np.abs(worse.astype(float) - pixels).mean())
    assert far[0] == 0
    assert all(near < further for near, further in itertools.pairwise(far))
    assert np.array_equal(pixels, kept)


@pytest.mark.parametrize("kind", DEGRADATIONS)
def test_the_smallest_image_and_strength_are_fine(kind):
    pixels = np.full((1, 1, 1), 7, np.uint8)
    for strength in (0.001, 1.0):
        assert degrade(pixels, kind, strength, np.random.default_rng(0)).shape == (1, 1, 1)


def test_occlusion_covers_the_share_that_it_says():
    pixels = np.zeros((100, 100, 1), np.uint8)
    covered = degrade(pixels, "occlusion", 0.5, np.random.default_rng(0))
    assert (covered > 0).mean() == pytest.approx(0.4, abs=0.01)


def test_wrong_arguments_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(
        ValueError, match="kind is 'fog'; it must be one of blur, noise, low_resolution, occl"
    ):
        degrade(picture(), "fog", 0.5, rng)
    for strength in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"strength is .*; it must lie in 0..1"):
            degrade(picture(), "blur", strength, rng)
