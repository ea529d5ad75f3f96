"""The similarity (turn, one scale, shift) that takes points as near as possible to others."""

import numpy as np

from partialfc.data.align.template import Points
from partialfc.errors import DataError


def similarity(points: Points, target: Points) -> Points:
    """points [n, 2], target [n, 2] -> [2, 3], which takes points to where the squared distances are least.

    Umeyama 1991, equations 40 to 42, without reflections. In the plane, turn and scale are one complex
    number, so his singular values are not needed. DataError where the points say nothing about it: not all
    finite, or all in one place.
    """
    if not np.isfinite(points).all():
        raise DataError("landmarks are not all finite")
    x, y = _complex(points), _complex(target)
    mean, goal = x.mean(), y.mean()
    spread = float((abs(x - mean) ** 2).sum())
    turn = ((x - mean).conj() * (y - goal)).sum() / spread if spread > 0 else 0.0
    if spread <= 1e-18 * float((abs(x) ** 2).sum()) or abs(turn) == 0:
        raise DataError("landmarks lie in one place, or as in a mirror image of a face")
    shift = goal - turn * mean
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def moved(points: Points, matrix: Points) -> Points:
    """points [n, 2] -> [n, 2], by a matrix [2, 3]."""
    result: Points = points @ matrix[:, :2].T + matrix[:, 2]
    return result


def misfit(points: Points, target: Points, matrix: Points) -> float:
    """The root of the mean squared distance of the moved points to their target, in the target's pixels."""
    return float(np.sqrt(((moved(points, matrix) - target) ** 2).sum(axis=1).mean()))


def _complex(points: Points) -> np.ndarray[tuple[int], np.dtype[np.complex128]]:
    found: np.ndarray[tuple[int], np.dtype[np.complex128]] = points[:, 0] + 1j * points[:, 1]
    return found
