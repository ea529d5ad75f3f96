"""The loss of probabilistic embeddings: how unlikely it is that genuine pairs agree."""

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from partialfc.distributed.accelerator import on_device
from partialfc.head.arguments import whole
from partialfc.head.surroundings import world_of
from partialfc.losses.batch_loss import Batch, BatchLoss
from partialfc.uncertainty.gaussian import mutual_likelihood


class MutualLikelihoodLoss(BatchLoss):
    """The mean of -s over all genuine pairs of the global batch, s the mutual likelihood score.

    A genuine pair is two different samples of one class, each pair counted once. Shi and Jain 2019,
    "Probabilistic Face Embeddings" (arXiv:1904.09658), section 4.3, with s of equation 3; their code leaves
    the constant D/2 log(2 pi) and the factor 1/2 out. Only variances can learn by it: a network whose means
    move too brings all of them to one point. Every class of a batch needs two samples at least:
    `data.sampler: identities` in a config.

    It is a module without parameters: see :class:`partialfc.BatchLoss` for its call, with Gaussians
    [B, 2D], as :class:`partialfc.uncertainty.ProbabilisticEmbedding` gives them, in place of embeddings.

    Args:
        embedding_size (int): D.
        process_group (torch.distributed.ProcessGroup | None): The ranks of the global batch; None (default)
            for the default group, or this process alone where there is none.

    Raises:
        ValueError: for an argument of another type or out of its range.
    """

    def __init__(self, embedding_size: int, *, process_group: dist.ProcessGroup | None = None) -> None:
        size = whole("embedding_size", embedding_size, least=1)
        super().__init__(world_of(process_group), size)
        self.embedding_size = 2 * size

    def parts(self, batch: Batch) -> tuple[Tensor, Tensor]:
        first, second = genuine_pairs(batch.classes, batch.own)
        gaussians = batch.embeddings
        pairs = [gaussians[on_device(torch.from_numpy(each), gaussians.device)] for each in (first, second)]
        return -mutual_likelihood(*pairs).sum()[None], gaussians.new_full((1,), len(first))


def genuine_pairs(classes: np.ndarray, own: slice) -> tuple[np.ndarray, np.ndarray]:
    """Class ids [N] -> the genuine pairs whose first sample is one of `own`: first [P], second [P], first <
    second.

    The pairs of the N samples are divided so among the ranks, each once.
    """
    first, second = np.nonzero(classes[own, None] == classes)
    first += own.start
    once = first < second
    return first[once], second[once]
