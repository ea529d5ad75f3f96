"""How a trained network compares two images: by the cosine of embeddings, or by the likelihood of
Gaussians.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from torch import nn

from partialfc.deploy.trained_network import Trained
from partialfc.errors import ConfigError
from partialfc.evaluation.embedder import Embedder
from partialfc.evaluation.scores.spread import Tile
from partialfc.evaluation.verification import pair_scores
from partialfc.uncertainty import likelihood_scores
from partialfc.uncertainty.gaussian import likelihood_tile

Score = Literal["auto", "cosine", "mls"]


@dataclass(frozen=True)
class Matcher:
    """network: images to rows [B, size]. scores: rows [2P, size] -> a score [P] for rows 2i and 2i + 1. tile:
    of each row with each; None: the cosine.
    """

    score: Literal["cosine", "mls"]
    network: nn.Module
    size: int
    scores: Callable[[np.ndarray], np.ndarray]
    tile: Tile | None = None

    def embedder(self, backbones: Embedder) -> Embedder:
        """The backbone's embedder with this network; ConfigError for Gaussians that were to be joined."""
        if self.score == "mls" and backbones.flip != "none":
            raise ConfigError(
                f"--flip {backbones.flip} joins two embeddings, and Gaussians cannot be joined so: leave "
                "it out, or take --score cosine"
            )
        return replace(backbones, network=self.network.to(backbones.device), size=self.size)


def matcher(trained: Trained, score: Score = "auto") -> Matcher:
    """auto: mls, the mutual likelihood score, for a run with uncertainty; cosine for any other.

    Raises ConfigError for mls of a run without uncertainty.
    """
    if score == "auto":
        score = "cosine" if trained.probabilistic is None else "mls"
    if score == "cosine":
        return Matcher("cosine", trained.backbone, trained.embedding_size, pair_scores)
    network = trained.require_probabilistic()
    return Matcher("mls", network, 2 * trained.embedding_size, likelihood_scores, likelihood_tile)
