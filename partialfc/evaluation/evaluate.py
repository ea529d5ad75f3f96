"""Pair verification of a network."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from partialfc.data.pairs.files import PairSet
from partialfc.evaluation.embedder import Embedder
from partialfc.evaluation.verification import Verification, pair_scores, verify


def evaluate_pairs(
    embedder: Embedder,
    pairs: PairSet,
    *,
    folds: int = 10,
    scores_of: Callable[[np.ndarray], np.ndarray] = pair_scores,
) -> tuple[Verification, np.ndarray]:
    """The verification of P pairs and their scores [P], the same on every rank; collective.

    scores_of: the rows [2P, D] that the embedder gives to the score of each pair; by default cosines.

    Raises ImageError, on every rank, where one of them has an image that cannot be decoded.
    """
    scores = scores_of(embedder.rows(pairs.images))
    return replace(verify(scores, pairs.same, folds=folds), dtype=embedder.dtype), scores
