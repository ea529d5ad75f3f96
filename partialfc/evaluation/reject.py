"""What rejecting the worst images gains: error against the share that is rejected; pure NumPy."""

from dataclasses import dataclass

import numpy as np

from partialfc.evaluation.verification import checked, threshold_at


@dataclass(frozen=True, eq=False)
class RejectCurve:
    """The false non-match rate of the pairs that are kept, against the share of pairs that is rejected.

    rejected [T]: the share of the genuine pairs rejected, rising from 0 and below 1. error [T]: of those
    kept, the share whose score is not above the threshold. threshold: the same at every share.
    """

    rejected: np.ndarray
    error: np.ndarray
    threshold: float

    def at(self, share: float) -> float:
        """The error where this share of the pairs is rejected, between two points on a straight line."""
        return float(np.interp(share, self.rejected, self.error))

    def area(self, up_to: float = 0.95) -> float:
        """The area under the curve from 0 to `up_to`; divided by `up_to` it is a mean error.

        The lower it is, the better the quality says which images fail.

        Raises ValueError for `up_to` outside of (0, 1).
        """
        if not 0 < up_to < 1:
            raise ValueError(f"up_to is {up_to}; it must lie between 0 and 1")
        inside = self.rejected < up_to
        shares = np.append(self.rejected[inside], up_to)
        errors = np.append(self.error[inside], self.at(up_to))
        return float(np.trapezoid(errors, shares))


def error_versus_reject(
    scores: np.ndarray, same: np.ndarray, quality: np.ndarray, *, fmr: float = 1e-3
) -> RejectCurve:
    """Scores [P], same [P], and quality [P, 2] of both images of each pair -> error against rejected pairs.

    A pair is as good as the worse of its images. The threshold is the lowest that accepts no more than the
    share `fmr` of all impostor pairs; it stays where it is. Then the genuine pairs are rejected from the
    worst on, and the false non-match rate of the rest is the curve's. Pairs of equal quality are rejected
    together. Grother and Tabassi 2007, "Performance of Biometric Quality Measures", section on the error
    versus reject curve.

    Raises ValueError as `verify` does, for qualities of another shape or not finite, and where there are
    too few impostor pairs for `fmr`.
    """
    scores, same = checked(scores, same)
    quality = np.asarray(quality, dtype=np.float64)
    if quality.shape != (len(scores), 2):
        raise ValueError(f"quality has shape {quality.shape}; it must be [{len(scores)}, 2], one an image")
    if not np.isfinite(quality).all():
        raise ValueError("quality has numbers that are not finite")
    if not 0 < fmr < 1:
        raise ValueError(f"fmr is {fmr}; it must lie between 0 and 1")
    threshold = threshold_at(scores[~same], fmr)
    if threshold is None:
        raise ValueError(
            f"fmr is {fmr}: of {int((~same).sum())} impostor pairs not one may be accepted; give more "
            "pairs, or a higher fmr"
        )
    worse = quality[same].min(1)
    order = np.argsort(worse, kind="stable")
    worse, missed = worse[order], scores[same][order] <= threshold
    starts = np.append(0, 1 + np.flatnonzero(np.diff(worse)))  # of each run of equal qualities
    still_missed = np.cumsum(missed[::-1])[::-1]
    kept = len(worse) - starts
    return RejectCurve(starts / len(worse), still_missed[starts] / kept, threshold)
