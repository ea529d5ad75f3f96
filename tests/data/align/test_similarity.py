"""The similarity and the crop it gives, against independent ones."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partialfc.data.align.crop import align_face, centre
from partialfc.data.align.similarity import misfit, moved, similarity
from partialfc.data.align.template import read_size, template
from partialfc.errors import ConfigError, DataError
from tests.data.align.faces import FACE, dots, draw, landmarks
from tests.data.images.scene import scene

ARCFACE = [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]


def umeyama(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Umeyama 1991, step by step for any dimension: the plain twin, in float64."""
    mean, goal = points.mean(axis=0), target.mean(axis=0)
    variance = ((points - mean) ** 2).sum(axis=1).mean()
    covariance = (target - goal).T @ (points - mean) / len(points)  # equation 38
    u, d, vt = np.linalg.svd(covariance)
    s = np.diag([1.0, np.linalg.det(u) * np.linalg.det(vt)])  # equations 39 and 43
    rotation = u @ s @ vt  # equation 40
    scale = np.trace(np.diag(d) @ s) / variance  # equation 42
    return np.column_stack([scale * rotation, goal - scale * rotation @ mean])  # equation 41


NOISE = st.lists(st.floats(-6, 6), min_size=10, max_size=10).map(lambda each: np.array(each).reshape(5, 2))


@given(
    scale=st.floats(0.05, 40),
    angle=st.floats(-180, 180),
    shift=st.tuples(st.floats(-3000, 3000), st.floats(-3000, 3000)),
    noise=NOISE,
    size=st.sampled_from([(112, 112), (96, 112), (224, 224)]),
)
@settings(max_examples=200, deadline=None)
def test_it_is_umeyamas_within_a_thousandth_of_a_pixel(
    scale: float, angle: float, shift: tuple[float, float], noise: np.ndarray, size: tuple[int, int]
) -> None:
    found = landmarks(scale=scale, angle=angle, shift=shift) + scale * noise
    ours, theirs = (find(found, template(*size)) for find in (similarity, umeyama))
    photo = found.mean(axis=0) + 60 * scale * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    assert np.abs(moved(photo, ours) - moved(photo, theirs)).max() < 1e-6
    assert misfit(found, template(*size), ours) <= 1e-9 + misfit(found, template(*size), theirs)


def test_it_is_scikit_images() -> None:
    transform = pytest.importorskip("skimage.transform")
    found = landmarks(scale=3.3, angle=17, shift=(400, 300)) + np.random.default_rng(0).normal(0, 8, (5, 2))
    theirs = transform.SimilarityTransform.from_estimate(found, FACE).params[:2]
    corners = np.array([[0, 0], [800, 0], [800, 600], [0, 600.0]])
    assert np.abs(moved(corners, similarity(found, FACE)) - moved(corners, theirs)).max() < 1e-3


def test_templates_are_the_published_ones_and_others_scaled() -> None:
    assert np.allclose(template(112, 112), ARCFACE)
    assert np.allclose(template(96, 112), np.array(ARCFACE) - [8, 0])
    assert np.allclose(template(224, 224), 2 * np.array(ARCFACE))
    high = template(96, 112) * 112 / 96 + [0, (224 - 112 * 112 / 96) / 2]
    assert np.allclose(template(112, 224), high)


@pytest.mark.parametrize("size", [(112, 112), (96, 112), (160, 160)], ids=str)
@pytest.mark.parametrize("angle", [0, 30, -100, 180])
def test_a_face_comes_to_lie_on_the_template(angle: float, size: tuple[int, int]) -> None:
    face = landmarks(scale=1.7, angle=angle, shift=(150, 140))
    photo = draw(face, size=(300, 280), radius=6)
    crop = align_face(photo, face, size=size)
    assert crop.shape == (size[1], size[0], 3)
    assert np.abs(dots(crop) - template(*size)).max() < 0.5


def test_pixels_are_those_of_opencv_with_an_independent_matrix() -> None:
    photo = scene(size=200)
    face = landmarks(scale=1.3, angle=20, shift=(100, 100))
    theirs = cv2.warpAffine(photo, umeyama(face, FACE), (112, 112), borderValue=0.0)
    assert np.array_equal(align_face(photo, face), theirs)


@pytest.mark.parametrize("face", [np.ones((5, 2)), np.full((5, 2), np.nan), FACE * [1, np.inf]], ids=str)
def test_what_is_no_face_is_refused(face: np.ndarray) -> None:
    with pytest.raises(DataError, match="landmarks"):
        similarity(face, FACE)


@pytest.mark.parametrize("shape", [(50, 200), (200, 50), (112, 112), (10, 10)], ids=str)
def test_the_middle_of_a_photo_keeps_its_sides(shape: tuple[int, int]) -> None:
    photo = np.zeros((*shape, 3), np.uint8)
    photo[shape[0] // 2 - 1 : shape[0] // 2 + 1, shape[1] // 2 - 1 : shape[1] // 2 + 1] = 255
    crop = centre(photo, size=(112, 112)).astype(float).sum(axis=2)
    y, x = (np.array(crop.nonzero()).mean(axis=1)).tolist()
    assert crop.shape == (112, 112)
    assert abs(x - 55.5) < 1
    assert abs(y - 55.5) < 1


def test_sizes_are_read() -> None:
    assert read_size("112") == (112, 112)
    assert read_size("96x112") == (96, 112)
    for text in ("", "0", "15", "96x", "x112", "96 x 112", "1e3", "-112", "112x112x3"):
        with pytest.raises(ConfigError, match=f"size is '{text}'"):
            read_size(text)
