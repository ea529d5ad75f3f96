"""Adaptive symmetric score normalisation: cosines measured against those with a cohort of strangers."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from partialfc.evaluation.scores.spread import SIDE, Spread, scores_of

LEAST_STD = 1e-6  # below it a cohort's scores are one value, and nothing can be measured against them


@dataclass(frozen=True, eq=False)
class Cohort:
    """means: an embedding for each class of the cohort. top: how many of the nearest count."""

    means: Spread
    top: int

    def calibrate(self, embeddings: Spread) -> Spread:
        """As `calibrated` does; collective."""
        return calibrated(embeddings, self.means, top=self.top)


def calibrated(embeddings: Spread, cohort: Spread, *, top: int, side: int = SIDE) -> Spread:
    """The same embeddings, whose scores are normalised from now on; collective.

    For images a and b of cosine s, and the `top` highest cosines of each with the cohort, of mean m and
    standard deviation d (population):

        s' = ((s - m_a) / d_a + (s - m_b) / d_b) / 2

    Cumani et al. 2011, "Comparison of Speaker Recognition Approaches for Real Applications" (adaptive
    symmetric); Matejka et al. 2017, "Analysis of Score Normalization in Multilingual Speaker Recognition",
    AS-norm1, equation 6. Written as s * (f_a + f_b) - (g_a + g_b) with f = 1 / (2 d) and g = m f, it costs
    the blocks of scores one product and one difference more each.

    The cohort holds other identities than those that are compared, best one embedding an identity.

    Raises ValueError for `top` that is not in 2..C, the cohort's size.
    """
    if not 2 <= top <= len(cohort):
        raise ValueError(f"top is {top}: it must be 2..{len(cohort)}, the number of embeddings in the cohort")
    best = embeddings.rows.new_empty(len(embeddings.rows), 0)
    for columns in cohort.blocks(side):
        found = [best.new_empty(0, 0)]
        for rows in replace(embeddings, calibration=None).own_blocks(side):
            scores = scores_of(rows, replace(columns, calibration=None))
            start = rows.start - embeddings.first
            together = torch.cat([best[start : start + len(rows)], scores], 1)
            found.append(together.topk(min(top, together.shape[1])).values)
        if len(found) > 1:
            best = torch.cat(found[1:])
    return replace(embeddings, calibration=_factors(best))


def _factors(best: Tensor) -> Tensor:
    """The highest cosines [n, top] with the cohort -> f and g of each [n, 2]."""
    if not len(best):
        return best.new_empty(0, 2)
    mean, std = best.mean(1), best.std(1, unbiased=False).clamp_min(LEAST_STD)
    factor = 0.5 / std
    return torch.stack([factor, mean * factor], 1)


def class_means(embeddings: Spread) -> Spread:
    """One embedding for each class: the mean of its unit embeddings, on the rank that has a share of it.

    A class whose images lie on two ranks gets the mean of all of them. Collective. DataError where a mean
    is zero.
    """
    classes, counts, _ = embeddings.by_class
    world = embeddings.world
    share = [len(classes) * rank // world.size for rank in range(world.size + 1)]
    own = torch.searchsorted(torch.from_numpy(classes), torch.from_numpy(embeddings.classes.copy()))
    of_rank = embeddings.rows.new_empty(0, embeddings.rows.shape[1])
    for rank in range(world.size):
        sums = embeddings.rows.new_zeros(share[rank + 1] - share[rank], embeddings.rows.shape[1])
        inside = (own >= share[rank]) & (own < share[rank + 1]) & torch.from_numpy(embeddings.classes >= 0)
        place = inside.nonzero().flatten().to(sums.device)
        sums.index_add_(0, (own[inside] - share[rank]).to(sums.device), embeddings.rows[place])
        sums = world.all_reduce_sum(sums)
        if rank == world.rank:
            of_rank = sums / torch.from_numpy(counts[share[rank] : share[rank + 1], None]).to(sums)
    return Spread.of(of_rank, classes[share[world.rank] : share[world.rank + 1]], world)
