"""MTCNN (Zhang et al. 2016) of the package facenet-pytorch, whose wheel holds the weights.

Its version pins are old: it is installed without its dependencies, and imported only here.
"""

from typing import Any

import numpy as np
import torch

from partialfc.data.align.detectors import Detect
from partialfc.data.align.faces import Face
from partialfc.data.images.codec import Pixels
from partialfc.errors import MissingExtraError

_SMALLEST = 20  # pixels of a face


class Mtcnn:
    """Loads MTCNN on the CPU; MissingExtraError where facenet-pytorch or torchvision cannot be imported."""

    def __call__(self) -> Detect:
        network = _package().MTCNN(keep_all=True, min_face_size=_SMALLEST, device="cpu")

        def detect(pixels: Pixels) -> list[Face]:
            if min(pixels.shape[:2]) < _SMALLEST:  # which its first stage cannot take
                return []
            with torch.inference_mode():
                boxes, scores, landmarks = network.detect(pixels, landmarks=True)
            if boxes is None:
                return []
            return [
                Face(np.asarray(points, np.float64), float(score))
                for score, points in zip(scores, landmarks, strict=True)
            ]

        return detect


def _package() -> Any:
    try:
        import facenet_pytorch
    except (ImportError, RuntimeError) as error:  # torchvision that was built for another torch
        raise MissingExtraError(
            f"the detector mtcnn needs facenet-pytorch, which cannot be imported ({error}): "
            "pip install --no-deps facenet-pytorch, and torchvision as it fits torch"
        ) from error
    return facenet_pytorch
