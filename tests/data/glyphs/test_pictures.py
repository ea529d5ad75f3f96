"""glyph_pictures: ink to squares, and when two are the same."""

import numpy as np
import pytest

from partialfc.data.glyphs.pictures import (
    FILL,
    Pose,
    paint,
    place,
    random_pose,
    same_picture,
    signature,
)


def solid(height: int, width: int) -> np.ndarray:
    return np.full((height, width), 255, np.uint8)


def extent(coverage: np.ndarray, axis: int) -> float:
    """Pixels that the ink spans, counting half-covered ones as half."""
    return float((coverage.max(axis) / 255.0).sum())


@pytest.mark.parametrize(("height", "width"), [(40, 40), (37, 20), (20, 37), (400, 100), (101, 301), (5, 4)])
@pytest.mark.parametrize("size", [16, 32, 57])
def test_upright_ink_fills_its_share_undistorted_and_centred(size: int, height: int, width: int) -> None:
    coverage = place(solid(height, width), size, Pose())
    larger = max(height, width)
    assert coverage.shape == (size, size)
    assert extent(coverage, 1) == pytest.approx(size * FILL * height / larger, abs=1.1)
    assert extent(coverage, 0) == pytest.approx(size * FILL * width / larger, abs=1.1)
    rows, columns = np.indices(coverage.shape)
    weights = coverage / coverage.sum(dtype=float)
    assert (weights * rows).sum() == pytest.approx((size - 1) / 2, abs=0.15)
    assert (weights * columns).sum() == pytest.approx((size - 1) / 2, abs=0.15)


def test_thin_strokes_survive_strong_reduction() -> None:
    ink = np.zeros((960, 960), np.uint8)
    ink[::40, :] = 255  # a line of 1 pixel in each 1.07 of the result
    coverage = place(ink, 32, Pose())
    inside = coverage[6:26, 6:26].astype(float)
    assert inside.mean() == pytest.approx(255 / 40, rel=0.25)


@pytest.mark.parametrize(("height", "width"), [(40, 40), (64, 30), (20, 100)])
def test_jitter_keeps_all_ink_inside(height: int, width: int) -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        pose = random_pose(generator, jitter=1.0)
        coverage = place(solid(height, width), 32, pose)
        area = (32 * FILL * pose.scale) ** 2 * min(height, width) / max(height, width)
        assert coverage.sum() / 255 == pytest.approx(area, rel=0.2)  # a clipped corner costs more


def test_a_pose_turns_the_ink_and_moves_it_within_the_room() -> None:
    upright = place(solid(60, 6), 32, Pose())
    tilted = place(solid(60, 6), 32, Pose(angle=0.5))
    assert extent(tilted, 0) > 2 * extent(upright, 0)
    right = place(solid(60, 6), 32, Pose(shift=(1.0, 0.0)))
    assert np.argwhere(right.max(0) > 127).max() == 31
    up = place(solid(6, 60), 32, Pose(shift=(0.0, -1.0)))
    assert np.argwhere(up.max(1) > 127).min() == 0


def test_no_jitter_means_black_on_white_and_no_pose() -> None:
    generator = np.random.default_rng(0)
    assert random_pose(generator, jitter=0.0) == Pose()
    coverage = np.array([[0, 128, 255]], np.uint8)
    assert paint(coverage, generator, jitter=0.0, channels=1)[..., 0].tolist() == [[255, 127, 0]]


def test_full_jitter_keeps_ink_and_paper_apart_and_swaps_half() -> None:
    generator = np.random.default_rng(0)
    coverage = np.array([[0, 255]], np.uint8)
    pixels = np.stack([paint(coverage, generator, jitter=1.0, channels=3) for _ in range(400)])
    paper, ink = pixels[:, 0, 0].astype(int), pixels[:, 0, 1].astype(int)
    assert np.abs(paper - ink).min() >= 35
    assert (paper > ink).all(1).sum() + (paper < ink).all(1).sum() == 400
    assert 150 < (paper > ink).all(1).sum() < 250
    assert len(np.unique(ink, axis=0)) > 300


def test_a_signature_forgets_the_pixel_grid_but_no_stroke() -> None:
    generator = np.random.default_rng(0)
    blocks = generator.random((8, 8)) < 0.5
    blocks[0, 0] = blocks[7, 7] = True
    fine = np.kron(blocks, solid(24, 24))
    aligned = fine.reshape(48, 4, 48, 4).mean((1, 3)).astype(np.uint8)
    shifted = np.pad(fine, ((1, 3), (2, 2))).reshape(49, 4, 49, 4).mean((1, 3)).astype(np.uint8)
    assert same_picture(signature(aligned), signature(shifted))
    blocks[3, 3] ^= True
    assert not same_picture(signature(aligned), signature(np.kron(blocks, solid(6, 6))))
