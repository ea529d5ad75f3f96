"""From the ink of a character to a square picture: centred, undistorted, varied within limits."""

from dataclasses import dataclass
from math import cos, radians, sin

import numpy as np
from numpy.typing import NDArray

from partialfc.data.images.opencv import cv2

FILL = 0.8  # the larger side of the ink as a share of the square's side
SIGNATURE_SIDE = 16

# Two signatures that differ by no more than both limits, in grey levels of 255, are the same picture. Drawing
# the same outline at another place changes a cell by less; the closest two Han characters of a face differ by
# 30 in one.
MAX_DIFFERENCE = 20
MEAN_DIFFERENCE = 2.0

# What jitter=1 may do. Tilted by this much, ink of share FILL still fits the square.
SMALLEST = 0.7
TILT_DEGREES = 15.0
LEVELS = 110.0


@dataclass(frozen=True, slots=True)
class Pose:
    """`scale` of the full size, `angle` in radians, `shift` (x, y): -1..1 of the room that is left."""

    scale: float = 1.0
    angle: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)


def random_pose(generator: np.random.Generator, *, jitter: float) -> Pose:
    size, angle, x, y = generator.uniform(-1.0, 1.0, 4).tolist()
    return Pose(
        scale=1.0 - jitter * (1.0 - SMALLEST) * (size + 1.0) / 2,
        angle=radians(jitter * TILT_DEGREES * angle),
        shift=(jitter * x, jitter * y),
    )


def place(ink: NDArray[np.uint8], size: int, pose: Pose) -> NDArray[np.uint8]:
    """ink [h, w] -> coverage [size, size], undistorted and wholly inside the square."""
    content = size * FILL
    left, top, right, bottom = _extent(ink)
    larger = max(right - left, bottom - top)
    shrink = max(1, int(larger / content))
    if shrink > 1:  # bilinear sampling alone would skip thin strokes
        ink = _reduce(ink, shrink)
    scale = pose.scale * content / larger  # of the ink before it was reduced
    along, across = scale * cos(pose.angle), scale * sin(pose.angle)
    room_x = max(0.0, size - (right - left) * abs(along) - (bottom - top) * abs(across)) / 2
    room_y = max(0.0, size - (right - left) * abs(across) - (bottom - top) * abs(along)) / 2
    along, across = along * shrink, across * shrink
    # The halves: OpenCV counts from the middle of the first pixel.
    x, y = (left + right) / (2 * shrink) - 0.5, (top + bottom) / (2 * shrink) - 0.5
    to_x = (size - 1) / 2 + pose.shift[0] * room_x
    to_y = (size - 1) / 2 + pose.shift[1] * room_y
    matrix = np.array(
        [
            [along, -across, to_x - along * x + across * y],
            [across, along, to_y - across * x - along * y],
        ]
    )
    return np.asarray(cv2.warpAffine(ink, matrix, (size, size), flags=cv2.INTER_LINEAR), np.uint8)


def _reduce(picture: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """[h, w] -> [ceil(h / factor), ceil(w / factor)], the mean of each square; beyond the edge all is 0."""
    height, width = picture.shape
    whole = cv2.copyMakeBorder(picture, 0, -height % factor, 0, -width % factor, cv2.BORDER_CONSTANT)
    step = 1 / factor
    return np.asarray(cv2.resize(whole, None, fx=step, fy=step, interpolation=cv2.INTER_AREA), np.uint8)


def _extent(ink: NDArray[np.uint8]) -> tuple[float, float, float, float]:
    """left, top, right, bottom of the ink [h, w]: an edge that is half covered counts half.

    So the same outline gives the same picture wherever it lies on the pixel grid.
    """
    height, width = ink.shape
    left, right = 1 - ink[:, 0].max() / 255, width - 1 + ink[:, -1].max() / 255
    top, bottom = 1 - ink[0].max() / 255, height - 1 + ink[-1].max() / 255
    return left, top, max(right, left + 1), max(bottom, top + 1)


def paint(
    coverage: NDArray[np.uint8], generator: np.random.Generator, *, jitter: float, channels: int
) -> NDArray[np.uint8]:
    """coverage [S, S] -> uint8 [S, S, channels]: black on white at jitter 0, more varied with more jitter.

    At jitter 1 half of the pictures are light on dark. Ink and paper differ clearly in every channel.
    """
    dark = jitter * LEVELS * generator.random(channels)
    light = 255.0 - jitter * LEVELS * generator.random(channels)
    ink, paper = (light, dark) if generator.random() < jitter / 2 else (dark, light)
    return np.rint(paper + coverage[..., None] / 255.0 * (ink - paper)).astype(np.uint8)


def signature(ink: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """ink [h, w] -> mean coverage [F] of a grid over the upright picture: what pictures are compared by."""
    picture = place(ink, 4 * SIGNATURE_SIDE, Pose())  # as fine as this, for sampling to matter little
    return _reduce(picture, 4).ravel()


def same_picture(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """signatures [..., F] and [..., F] -> [...]: whether they differ no more than drawing may change them."""
    difference = np.abs(first.astype(np.int16) - second)
    return np.asarray((difference.max(-1) <= MAX_DIFFERENCE) & (difference.mean(-1) <= MEAN_DIFFERENCE))
