"""Pair verification of a network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from partialfc.data.pairs.files import PairSet, VideoPairs
from partialfc.evaluation.embedder import Embedder
from partialfc.evaluation.pair_rows import PairRows, pair_rows
from partialfc.evaluation.verification import FARS, ScoredBy, Verification, pair_scores, verify


@dataclass(frozen=True, eq=False)
class Evaluated:
    """result: of P pairs; their scores [P], the folds as `verify` takes them, and the embeddings."""

    result: Verification
    scores: np.ndarray
    folds: int | np.ndarray
    rows: PairRows


def evaluate_pairs(
    embedder: Embedder,
    pairs: PairSet | VideoPairs,
    *,
    folds: int | None = None,
    fars: Sequence[float] = FARS,
    scores_of: Callable[[np.ndarray], np.ndarray] = pair_scores,
    score: ScoredBy = "cosine",
) -> Evaluated:
    """The verification of P pairs, the same on every rank; collective.

    folds: None for those of the list, or 10. scores_of: the rows [2P, D] that the embedder gives to the score
    of each pair; by default cosines. score: what these are, for the result.

    Raises ValueError for too many folds, and ImageError, on every rank, where one of them has an image that
    cannot be decoded.
    """
    blocks = pairs.fold_numbers(folds)  # before the work
    rows = pair_rows(embedder, pairs)
    scores = scores_of(rows.both)
    result = verify(scores, pairs.same, folds=blocks, fars=fars)
    result = replace(result, dtype=embedder.dtype, score=score)
    return Evaluated(result, scores, blocks, rows)


def mean_scores(rows: np.ndarray) -> np.ndarray:
    """rows [2P, D] of videos, means of embeddings of norm 1 -> the mean of all cosines between frames [P]."""
    scores: np.ndarray = np.einsum("pd,pd->p", rows[0::2], rows[1::2])
    return scores
