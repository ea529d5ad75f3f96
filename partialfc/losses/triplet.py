"""The triplet loss: an anchor is nearer to its own class than to any other, by a margin."""

import math
from typing import Literal, get_args

import torch
import torch.distributed as dist
from torch import Tensor

from partialfc.head.arguments import above, one_of
from partialfc.head.surroundings import world_of
from partialfc.losses.batch_loss import Batch, BatchLoss
from partialfc.losses.geometry import distances, unit
from partialfc.losses.pairs import kinds_of_pairs

Mining = Literal["all", "hard", "semihard"]


class TripletLoss(BatchLoss):
    """Triplet loss over the global batch: the mean of max(0, margin + d(a, p) - d(a, n)) over triplets.

    Of a triplet, anchor a and positive p are two samples of one class, and the negative n is of another; d is
    the Euclidean distance. Which triplets, and what the mean is over, is the `mining`:

    - "all": every triplet; the mean over those whose term is not 0. Hermans, Beyer and Leibe 2017, "In
      Defense of the Triplet Loss for Person Re-Identification" (arXiv:1703.07737), equation 6 and its
      variant for the non-zero ones.
    - "hard": each anchor with its farthest positive and its nearest negative; the mean over the anchors that
      have both. The same paper, equation 5.
    - "semihard": each anchor and positive with the nearest of the negatives that are farther away than the
      positive, and where none is, with the farthest negative; the mean over the pairs of anchor and positive
      that have a negative. Schroff, Kalenichenko and Philbin 2015, "FaceNet" (arXiv:1503.03832), section 3.2,
      with distances in place of their squares.

    "all" sorts each anchor's distances: O(B · N) memory and O(B · N log N) time, though there are N^3
    triplets. Every class of a batch needs two samples at least: `data.sampler: identities` in a config.

    It is a module without parameters: see :class:`partialfc.BatchLoss` for its call.

    Args:
        mining (str): "all", "hard" (default) or "semihard".
        margin (float): Above 0. Between unit embeddings distances lie in 0..2. Default 0.2.
        normalise (bool): Measure between unit embeddings (default), else between embeddings as they are.
        process_group (torch.distributed.ProcessGroup | None): The ranks of the global batch; None (default)
            for the default group, or this process alone where there is none.

    Raises:
        ValueError: for an argument of another type or out of its range.
    """

    def __init__(
        self,
        *,
        mining: Mining = "hard",
        margin: float = 0.2,
        normalise: bool = True,
        process_group: dist.ProcessGroup | None = None,
    ) -> None:
        mining = one_of("mining", mining, get_args(Mining))
        margin, normalise = above("margin", margin, 0.0), one_of("normalise", normalise, (False, True))
        super().__init__(world_of(process_group), (mining, margin, normalise))
        self.mining = mining
        self.margin = margin
        self.normalise = normalise

    def parts(self, batch: Batch) -> tuple[Tensor, Tensor]:
        prepared = unit(batch.embeddings) if self.normalise else batch.embeddings
        distance = distances(prepared[batch.own], prepared)
        mined = {"all": every_triplet, "hard": hardest, "semihard": semi_hard}[self.mining]
        total, count = mined(distance, *kinds_of_pairs(batch), self.margin)
        return total[None], count[None]

    def extra_repr(self) -> str:
        return f"mining={self.mining!r}, margin={self.margin}, normalise={self.normalise}"


def every_triplet(
    distance: Tensor, positive: Tensor, negative: Tensor, margin: float
) -> tuple[Tensor, Tensor]:
    """Distances [B, N] and who is what to each anchor [B, N] -> the sum of all terms, and how many are not 0.

    A term that is not 0 has the derivative 1 by d(a, p) and -1 by d(a, n). So the sum is that of each
    distance times the number of its terms, which two searches in sorted rows count.
    """
    with torch.no_grad():
        limit = distance + margin  # of a positive: negatives nearer than this make a term
        negatives = distance.masked_fill(~negative, math.inf).sort(1).values
        limits = limit.masked_fill(~positive, -math.inf).sort(1).values
        of_positive = torch.searchsorted(negatives, limit) * positive
        of_negative = (distance.shape[1] - torch.searchsorted(limits, distance, right=True)) * negative
        count = of_positive.sum().to(distance.dtype)
        times = (of_positive - of_negative).to(distance.dtype)
    return (distance * times).sum() + margin * count, count


def hardest(distance: Tensor, positive: Tensor, negative: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """Distances [B, N] -> the sum over anchors, with farthest positive and nearest negative; how many."""
    farthest = distance.masked_fill(~positive, -math.inf).max(1).values
    nearest = distance.masked_fill(~negative, math.inf).min(1).values
    has_both = positive.any(1) & negative.any(1)
    terms = (margin + farthest - nearest).clamp_min(0)
    return torch.where(has_both, terms, 0.0).sum(), has_both.sum()


def semi_hard(distance: Tensor, positive: Tensor, negative: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """Distances [B, N] -> the sum over anchors and positives with their semi-hard negative, and how many."""
    with torch.no_grad():
        negatives, order = distance.masked_fill(~negative, math.inf).sort(1)
        number = negative.sum(1, keepdim=True)
        farther = torch.searchsorted(negatives, distance.detach(), right=True)
        place = torch.minimum(farther, number - 1).clamp_min(0)
        chosen = order.gather(1, place)
        makes_term = positive & (number > 0)
    terms = (margin + distance - distance.gather(1, chosen)).clamp_min(0)
    return (terms * makes_term).sum(), makes_term.sum()
