"""Networks that find faces: what is done with what they find, and the two that are known."""

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from partialfc.data.align.detectors import SIDES, Detect, Detector, YuNet
from partialfc.data.align.faces import Face, chosen
from partialfc.data.images.codec import Pixels, decode
from partialfc.data.images.opencv import cv2
from partialfc.errors import DataError, MissingExtraError
from tests.data.align.faces import FACE, dots, draw, landmarks
from tests.data.align.yunet import LANDMARKS, SCORE, SIDE, write_yunet


def find_dots(pixels: Pixels) -> list[Face]:
    return [Face(dots(pixels), 0.8)]


@pytest.mark.parametrize("size", [(500, 400), (640, 900), (1500, 900)], ids=str)
def test_landmarks_are_those_of_the_whole_photo(size: tuple[int, int]) -> None:
    scale = size[0] / 250
    face = landmarks(scale=scale, angle=10, shift=(size[0] / 2, size[1] / 2))
    photo = draw(face, size=size, radius=4 * scale)
    (found,) = Detector(lambda: find_dots, min_score=0.5)("", photo)
    assert np.abs(found.landmarks - face).max() < 0.25 * scale


def test_sizes_are_tried_until_a_face_is_sure_enough() -> None:
    seen = []

    def unsure(pixels: Pixels) -> list[Face]:
        seen.append(max(pixels.shape))
        return [Face(FACE, 0.4), Face(FACE, 0.6 if len(seen) == 3 else 0.3)]

    photo = np.zeros((2000, 1000, 3), np.uint8)
    assert [face.score for face in Detector(lambda: unsure, min_score=0.5)("", photo)] == [0.6]
    assert seen == list(SIDES)
    seen.clear()
    assert Detector(lambda: unsure, min_score=0.7)("", photo[:100, :100]) == []
    assert seen == [100]  # which is smaller than all of them, so it is looked at once
    seen.clear()
    assert Detector(lambda: unsure, min_score=0.7)("", photo[:, :1]) == []
    assert seen == list(SIDES)


def test_yunet_gives_its_landmarks_in_the_templates_order(tmp_path: Path) -> None:
    detector = Detector(YuNet(write_yunet(tmp_path / "hand.onnx")), min_score=0.5)
    (face,) = detector("", np.zeros((SIDE, SIDE, 3), np.uint8))
    assert np.abs(face.landmarks - LANDMARKS).max() < 1e-4
    assert face.score == pytest.approx(SCORE)


def test_a_model_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(DataError, match=r"text\.onnx: OpenCV cannot use it as a YuNet model"):
        YuNet(tmp_path / "text.onnx")()
    with pytest.raises(DataError, match=r"none\.onnx: there is no such model file"):
        YuNet(tmp_path / "none.onnx")()


def real_network(name: str) -> Callable[[], Detect]:
    """Where it is: facenet-pytorch installed, or the file that the variable YUNET_MODEL names."""
    if name == "yunet":
        if not (model := os.environ.get("YUNET_MODEL")):
            pytest.skip("YUNET_MODEL names no file, such as OpenCV's face_detection_yunet_2023mar.onnx")
        return YuNet(model)
    pytest.importorskip("facenet_pytorch", exc_type=ImportError)
    from partialfc.data.align.mtcnn import Mtcnn

    return Mtcnn()


def astronaut() -> Pixels:
    """The photo that scikit-image has, which is not imported for it."""
    package = find_spec("skimage")
    if package is None or package.origin is None:
        pytest.skip("scikit-image, which has a photo of an astronaut, is not installed")
    return decode((Path(package.origin).parent / "data" / "astronaut.png").read_bytes())


@pytest.mark.parametrize("name", ["mtcnn", "yunet"])
def test_a_real_network_finds_a_real_face(name: str) -> None:
    network, photo = real_network(name), astronaut()
    detector = Detector(network, min_score=0.9 if name == "mtcnn" else 0.7)
    eyes_and_mouth = np.array([[204, 103], [247, 104], [224, 128], [203, 142], [244, 143]])  # by eye
    (face,) = detector("", photo)
    assert np.abs(face.landmarks - eyes_and_mouth).max() < 6
    twice = cv2.resize(photo, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
    assert np.abs(detector("", twice)[0].landmarks - 2 * eyes_and_mouth).max() < 12
    for size in ((90, 120), (20, 30), (1, 1), (2000, 21)):
        assert detector("", np.zeros((*size, 3), np.uint8)) == []


def test_mtcnn_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    from partialfc.data.align.mtcnn import Mtcnn

    monkeypatch.setitem(__import__("sys").modules, "facenet_pytorch", None)
    with pytest.raises(MissingExtraError, match="pip install --no-deps facenet-pytorch"):
        Mtcnn()()


LEFT = Face(landmarks(scale=1.5, angle=0, shift=(100, 200)))
MIDDLE = Face(landmarks(scale=0.5, angle=0, shift=(400, 200)))


@pytest.mark.parametrize(
    ("several", "expected"),
    [("largest", [LEFT]), ("centre", [MIDDLE]), ("all", [MIDDLE, LEFT]), ("error", [])],
)
def test_which_of_several_faces(several, expected) -> None:
    found = chosen([MIDDLE, LEFT], several, height=400, width=800)
    assert [id(face) for face in found] == [id(face) for face in expected]
    assert chosen([LEFT], several, height=400, width=800) == [LEFT]
