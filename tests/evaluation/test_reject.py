"""Error versus reject curves against their definition, and what a perfect and a useless quality give."""

import numpy as np
import pytest

from partialfc.evaluation.reject import error_versus_reject
from tests.uncertainty import reference


def pairs(count=400, seed=0):
    """Scores that are the lower, the worse an image is; the quality [P, 2] of each image."""
    generator = np.random.default_rng(seed)
    quality = generator.random((count, 2))
    same = np.arange(count) % 2 == 0
    scores = np.where(same, quality.min(1), 0.0) + 0.1 * generator.standard_normal(count)
    return scores, same, quality


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
def test_the_curve_is_that_of_the_definition(ties):
    scores, same, quality = pairs()
    quality = quality.round(1) if ties else quality
    curve = error_versus_reject(scores, same, quality, fmr=0.05)
    assert (scores[~same] > curve.threshold).sum() == 10  # of 200
    expected = reference.reject(scores.tolist(), same.tolist(), quality.tolist(), curve.threshold)
    assert curve.rejected.tolist() == pytest.approx([share for share, _ in expected])
    assert curve.error.tolist() == pytest.approx([error for _, error in expected])


def test_a_better_quality_has_a_smaller_area():
    scores, same, quality = pairs()
    random = np.random.default_rng(1).random(quality.shape)
    areas = [error_versus_reject(scores, same, each, fmr=0.05).area() for each in (quality, random, -quality)]
    assert areas[0] < 0.3 * areas[1]
    assert areas[1] < areas[2]


def test_an_area_is_that_under_straight_lines():
    scores, same = np.array([0.1, 0.9, 0.9, 0.9, 0.5, 0.4]), np.array([1, 1, 1, 1, 0, 0])
    quality = np.array([[1, 9], [2, 9], [3, 9], [4, 9], [0, 0], [0, 0]])
    curve = error_versus_reject(scores, same, quality, fmr=0.5)
    assert curve.rejected.tolist() == [0, 0.25, 0.5, 0.75]
    assert curve.error.tolist() == [0.25, 0, 0, 0]
    assert curve.at(0.125) == 0.125
    assert curve.area(0.5) == pytest.approx(0.25 * 0.25 / 2)
    assert curve.area(0.125) == pytest.approx((0.25 + 0.125) / 2 * 0.125)


def test_one_quality_for_all_rejects_none():
    scores, same, quality = pairs()
    curve = error_versus_reject(scores, same, np.ones_like(quality), fmr=0.05)
    assert curve.rejected.tolist() == [0]
    assert curve.area(0.5) == pytest.approx(curve.error[0] * 0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quality": np.ones(4)}, r"quality has shape \(4,\); it must be \[4, 2\], one an image"),
        ({"quality": np.full((4, 2), np.nan)}, "quality has numbers that are not finite"),
        ({"fmr": 1.0}, r"fmr is 1.0; it must lie between 0 and 1"),
        ({"fmr": 0.1}, r"fmr is 0.1: of 2 impostor pairs not one may be accepted; give more pairs"),
        ({"same": np.ones(4)}, "4 genuine and 0 impostor pairs"),
    ],
    ids=["shape", "nan", "fmr", "too_few", "one_kind"],
)
def test_wrong_arguments_are_refused(change, message):
    arguments = {
        "scores": np.arange(4.0),
        "same": np.array([1, 0, 1, 0]),
        "quality": np.ones((4, 2)),
    } | change
    with pytest.raises(ValueError, match=message):
        error_versus_reject(**arguments)
    with pytest.raises(ValueError, match=r"up_to is 0; it must lie between 0 and 1"):
        error_versus_reject(*pairs(), fmr=0.1).area(0)
