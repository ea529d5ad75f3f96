"""Crops of a photo's pixels."""

import numpy as np

from partialfc.data.align.similarity import similarity
from partialfc.data.align.template import Points, template
from partialfc.data.images.codec import Pixels
from partialfc.data.images.opencv import cv2


def align_face(pixels: Pixels, landmarks: Points, *, size: tuple[int, int] = (112, 112)) -> Pixels:
    """uint8 [H, W, 3] and landmarks [5, 2] in it -> the face as uint8 [height, width, 3].

    size: (width, height). The landmarks come as near as possible to the template's
    (partialfc.data.align.template), and the nearest four pixels are weighted, as InsightFace's `norm_crop`
    does; what lies beyond the photo is black. DataError for landmarks that are no face's.
    """
    return warp(pixels, similarity(np.asarray(landmarks, np.float64), template(*size)), size=size)


def warp(pixels: Pixels, matrix: Points, *, size: tuple[int, int]) -> Pixels:
    """uint8 [H, W, 3] -> [height, width, 3], moved by a matrix [2, 3]; black beyond the photo."""
    return np.asarray(cv2.warpAffine(pixels, matrix, size, flags=cv2.INTER_LINEAR), np.uint8)


def centre(pixels: Pixels, *, size: tuple[int, int]) -> Pixels:
    """uint8 [H, W, 3] -> [height, width, 3]: the largest part in the middle with the sides' ratio."""
    height, width, _ = pixels.shape
    scale = min(width / size[0], height / size[1])
    wide, high = max(1, round(scale * size[0])), max(1, round(scale * size[1]))
    top, left = (height - high) // 2, (width - wide) // 2
    method = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
    part = np.ascontiguousarray(pixels[top : top + high, left : left + wide])
    return np.asarray(cv2.resize(part, size, interpolation=method), np.uint8)
