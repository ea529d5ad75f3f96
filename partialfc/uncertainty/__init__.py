"""How sure an embedding is of its image: Gaussians in place of points, and quality scores of single images.

`gaussian.py` is the arithmetic of probabilistic embeddings, `module.py` the network that gives them,
`loss.py` what it is trained by.

May import `backbones`, `distributed`, `head`, `losses` and `errors`.
"""

from partialfc.uncertainty.gaussian import confidence, fuse, likelihood_scores, mutual_likelihood, split
from partialfc.uncertainty.loss import MutualLikelihoodLoss
from partialfc.uncertainty.module import ProbabilisticEmbedding, UncertaintyModule

__all__ = [
    "MutualLikelihoodLoss",
    "ProbabilisticEmbedding",
    "UncertaintyModule",
    "confidence",
    "fuse",
    "likelihood_scores",
    "mutual_likelihood",
    "split",
]
