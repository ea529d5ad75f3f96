"""Networks of other projects that find faces and their landmarks. None comes along with partialfc."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from partialfc.data.align.faces import Face
from partialfc.data.align.template import LANDMARKS
from partialfc.data.images.codec import Pixels
from partialfc.data.images.opencv import cv2, silence_opencv
from partialfc.errors import DataError, in_one_line

SIDES = (640, 320, 1280)  # the longer side that a photo is shrunk to; the next where no face is found
_OVERLAP = 0.3
_MOST = 5000

Detect = Callable[[Pixels], list[Face]]  # uint8 [H, W, 3] -> faces with scores


class Detector:
    """Finds the faces in a photo that its network is sure of: whose score is at least `min_score`, 0 to 1.

    It looks at the photo with at most 640 pixels a side, and where it finds none there with 320, then 1280:
    networks miss what is very large and very small. Each process loads the network for its first photo.
    """

    def __init__(self, load: Callable[[], Detect], *, min_score: float) -> None:
        self._load = load
        self._min_score = min_score
        self._detect: Detect | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_detect": None}

    def __call__(self, photo: str, pixels: Pixels) -> list[Face]:
        if self._detect is None:
            self._detect = self._load()
        longer = max(pixels.shape[:2])
        looked_at = set()
        for side in SIDES:
            factor = min(1.0, side / longer)
            if factor in looked_at:
                continue
            looked_at.add(factor)
            small = _shrunk(pixels, factor)
            faces = [_enlarged(face, small, pixels) for face in self._detect(small)]
            if sure := [face for face in faces if face.score is None or face.score >= self._min_score]:
                return sure
        return []


class YuNet:
    """OpenCV's FaceDetectorYN with a model file, such as OpenCV's own face_detection_yunet_2023mar.onnx."""

    def __init__(self, model: str | Path) -> None:
        self._model = Path(model)

    def __call__(self) -> Detect:
        """DataError where the model cannot be used."""
        if not self._model.is_file():
            raise DataError(f"{self._model}: there is no such model file")
        silence_opencv()
        try:
            network = cv2.FaceDetectorYN.create(str(self._model), "", (64, 64), 0.1, _OVERLAP, _MOST)
            network.detect(np.zeros((64, 64, 3), np.uint8))
        except cv2.error as error:
            raise DataError(
                f"{self._model}: OpenCV cannot use it as a YuNet model: {in_one_line(error)}"
            ) from error

        def detect(pixels: Pixels) -> list[Face]:
            network.setInputSize(pixels.shape[1::-1])
            _, found = network.detect(np.ascontiguousarray(pixels[:, :, ::-1]))  # OpenCV's order is BGR
            rows = [] if found is None else found.astype(np.float64)
            return [Face(row[4:14].reshape(LANDMARKS, 2), float(row[14])) for row in rows]

        return detect


def _shrunk(pixels: Pixels, factor: float) -> Pixels:
    if factor == 1:
        return pixels
    height, width = (max(1, round(factor * side)) for side in pixels.shape[:2])
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _enlarged(face: Face, small: Pixels, photo: Pixels) -> Face:
    """A face of the small picture in the photo. Pixels are areas, and whole numbers their middles."""
    factors = np.array(photo.shape[1::-1]) / small.shape[1::-1]
    return Face((face.landmarks + 0.5) * factors - 0.5, face.score)
