"""How a trained network compares two images: by the cosine of embeddings, or by the likelihood of
Gaussians.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import nn

from partialfc.deploy.trained import Trained
from partialfc.evaluation.verification import pair_scores
from partialfc.uncertainty import likelihood_scores

Score = Literal["auto", "cosine", "mls"]


@dataclass(frozen=True)
class Matcher:
    """network: images to rows [B, size]. scores: rows [2P, size] -> a score [P] for rows 2i and 2i + 1."""

    score: Literal["cosine", "mls"]
    network: nn.Module
    size: int
    scores: Callable[[np.ndarray], np.ndarray]


def matcher(trained: Trained, score: Score = "auto") -> Matcher:
    """auto: mls, the mutual likelihood score, for a run with uncertainty; cosine for any other.

    Raises ConfigError for mls of a run without uncertainty.
    """
    if score == "auto":
        score = "cosine" if trained.probabilistic is None else "mls"
    if score == "cosine":
        return Matcher("cosine", trained.backbone, trained.embedding_size, pair_scores)
    return Matcher("mls", trained.require_probabilistic(), 2 * trained.embedding_size, likelihood_scores)
