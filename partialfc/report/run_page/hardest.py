"""The pairs that a run gets most wrong, by its saved scores: nothing is embedded for them."""

import numpy as np

from partialfc.data.images.codec import decode
from partialfc.data.pairs.files import PairSet
from partialfc.errors import DataError
from partialfc.evaluation.verification import verify
from partialfc.report.page import THUMBNAIL
from partialfc.report.run_page.looks import HardPair, HardPairs
from partialfc.report.saved_scores import Scores
from partialfc.report.tiles import Pixels, thumbnail

SHOWN = 12  # pairs of each kind, at most, of a run on a set
LEAST = 3
ON_A_PAGE = 48  # pairs of each kind, of all runs on all sets


def shown_of_each(lists: int) -> int:
    """How many pairs of each kind a page shows that has so many lists of them."""
    return max(LEAST, min(SHOWN, ON_A_PAGE // max(lists, 1)))


def hardest_pairs(scores: Scores, pairs: PairSet, *, most: int, images: bool, max_pixels: int) -> HardPairs:
    """The `most` highest of the impostor pairs' scores and lowest of the genuine pairs', worst first; of
    equal ones the first. images: whether they are shown.

    Raises DataError where the pairs are not those that were scored.
    """
    require_scored(scores, pairs)
    threshold = verify(scores.scores, scores.same, folds=scores.folds).threshold

    def shown(order: np.ndarray) -> list[HardPair]:
        return [
            HardPair(
                int(index),
                float(scores.scores[index]),
                *(_pixels(pairs.images[2 * index + side], images, max_pixels) for side in (0, 1)),
            )
            for index in order[:most]
        ]

    genuine, impostors = np.flatnonzero(scores.same), np.flatnonzero(~scores.same)
    return HardPairs(
        scores.name,
        scores.step,
        threshold,
        shown(impostors[np.argsort(-scores.scores[impostors], kind="stable")]),
        shown(genuine[np.argsort(scores.scores[genuine], kind="stable")]),
        int((scores.scores[impostors] >= threshold).sum()),
        int((scores.scores[genuine] < threshold).sum()),
    )


def require_scored(scores: Scores, pairs: PairSet) -> None:
    """DataError where the flags of the pairs are not those that the scores were saved with."""
    if len(pairs.same) != len(scores.same) or (pairs.same != scores.same).any():
        raise DataError(
            f"set {scores.name}: the pairs are not those that the run verified on: {len(pairs.same):,} pairs "
            f"now, {len(scores.same):,} then"
        )


def _pixels(data: bytes, images: bool, max_pixels: int) -> Pixels | None:
    if not images:
        return None
    try:
        return thumbnail(decode(data, max_pixels=max_pixels), THUMBNAIL)
    except DataError:
        return None
