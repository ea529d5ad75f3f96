"""Curves with fewer points that look the same: each part keeps its least and its greatest value."""

import numpy as np
import numpy.typing as npt

from partialfc.report.run_page.quantiles import Floats

POINTS = 1200  # of a curve on a page


def kept_points(values: Floats, most: int = POINTS) -> npt.NDArray[np.int64]:
    """The places [k], rising, of those values [n] that a curve of at most `most` points keeps.

    All of them where n <= most. Else the values are cut into parts of equal length, and of each the first
    least and the first greatest stay, and the first of all and the last of all; a part without a number keeps
    its first place, so that a gap stays a gap. most: at least 4.
    """
    count = len(values)
    if most < 4:
        raise ValueError(f"most is {most}: a curve keeps at least 4 points")
    if count <= most:
        return np.arange(count)
    parts = (most - 2) // 2
    cuts = np.linspace(0, count, parts + 1).astype(np.int64)
    finite = np.isfinite(values)
    least = _first_of_each(np.where(finite, values, np.inf), cuts, np.minimum)
    greatest = _first_of_each(np.where(finite, values, -np.inf), cuts, np.maximum)
    kept: npt.NDArray[np.int64] = np.unique(np.concatenate([[0, count - 1], least, greatest]))
    return kept


def _first_of_each(values: Floats, cuts: npt.NDArray[np.int64], extreme: np.ufunc) -> npt.NDArray[np.int64]:
    """The place of the first value in each part that is the part's extreme."""
    ends = extreme.reduceat(values, cuts[:-1])
    at = np.flatnonzero(values == np.repeat(ends, np.diff(cuts)))
    part = np.searchsorted(cuts, at, side="right") - 1
    _, first = np.unique(part, return_index=True)
    found: npt.NDArray[np.int64] = at[first]
    return found
