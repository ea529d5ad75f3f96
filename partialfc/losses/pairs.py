"""Contrastive losses: pairs of the same class come together, other pairs stay a margin apart."""

import math
from abc import abstractmethod

import torch
import torch.distributed as dist
from torch import Tensor

from partialfc.head.arguments import above, one_of
from partialfc.head.surroundings import world_of
from partialfc.losses.batch_loss import Batch, BatchLoss
from partialfc.losses.geometry import angles, distances, unit


def kinds_of_pairs(batch: Batch) -> tuple[Tensor, Tensor]:
    """For each own sample and each of the N: whether they are two samples of one class, or of two [B, N]."""
    same = batch.labels[batch.own, None] == batch.labels
    other_class = ~same
    own = torch.arange(len(same), device=same.device)
    same[own, own + batch.own.start] = False  # a sample and itself
    return same, other_class


class PairLoss(BatchLoss):
    """A mean over all pairs of different samples of the global batch; each rank has those of its own samples.

    A subclass gives the distance, and `genuine` and `impostor`, the terms of a pair by its distance.
    """

    def __init__(
        self, margin: float, about: object, *, balanced: bool, process_group: dist.ProcessGroup | None
    ) -> None:
        balanced = one_of("balanced", balanced, (False, True))
        super().__init__(world_of(process_group), (margin, about, balanced))
        self.margin = margin
        self.balanced = balanced

    @abstractmethod
    def measure(self, own: Tensor, others: Tensor) -> Tensor:
        """Embeddings [B, D] and [N, D] -> distances [B, N]."""

    @abstractmethod
    def genuine(self, distance: Tensor) -> Tensor:
        """The term of two samples of one class."""

    @abstractmethod
    def impostor(self, distance: Tensor) -> Tensor:
        """The term of two samples of two classes."""

    def prepared(self, embeddings: Tensor) -> Tensor:
        """Embeddings [N, D] as they are measured."""
        return unit(embeddings)

    def parts(self, batch: Batch) -> tuple[Tensor, Tensor]:
        prepared = self.prepared(batch.embeddings)
        distance = self.measure(prepared[batch.own], prepared)
        same, other = kinds_of_pairs(batch)
        sums = torch.stack([(self.genuine(distance) * same).sum(), (self.impostor(distance) * other).sum()])
        counts = torch.stack([same.sum(), other.sum()])
        return (sums, counts) if self.balanced else (sums.sum()[None], counts.sum()[None])


class ContrastiveLoss(PairLoss):
    """Contrastive loss over all pairs of the global batch.

    For two samples at the Euclidean distance d: 1/2 d^2 if they are of one class, else
    1/2 max(0, margin - d)^2. Hadsell, Chopra and LeCun 2006, "Dimensionality Reduction by Learning an
    Invariant Mapping", equation 4. The loss is the mean over all pairs of different samples, of which in
    batches of many classes few are of one class; `balanced` is the sum of two means, over the pairs of one
    class and over the others. A batch with at least two samples of each class is best: `data.sampler:
    identities` in a config.

    It is a module without parameters: see :class:`partialfc.BatchLoss` for its call.

    Args:
        margin (float): How far apart samples of two classes are to be, above 0; with `normalise` at most 2,
            since distances between unit embeddings lie in 0..2. Default 1.0.
        normalise (bool): Measure between unit embeddings (default), else between embeddings as they are.
        balanced (bool): See above. Default False.
        process_group (torch.distributed.ProcessGroup | None): The ranks of the global batch; None (default)
            for the default group, or this process alone where there is none.

    Raises:
        ValueError: for an argument of another type or out of its range.
    """

    def __init__(
        self,
        *,
        margin: float = 1.0,
        normalise: bool = True,
        balanced: bool = False,
        process_group: dist.ProcessGroup | None = None,
    ) -> None:
        normalise = one_of("normalise", normalise, (False, True))
        margin = above("margin", margin, 0.0, at_most=2.0 if normalise else math.inf)
        super().__init__(margin, normalise, balanced=balanced, process_group=process_group)
        self.normalise = normalise

    def prepared(self, embeddings: Tensor) -> Tensor:
        return unit(embeddings) if self.normalise else embeddings

    def measure(self, own: Tensor, others: Tensor) -> Tensor:
        return distances(own, others)

    def genuine(self, distance: Tensor) -> Tensor:
        return distance.square() / 2

    def impostor(self, distance: Tensor) -> Tensor:
        return (self.margin - distance).clamp_min(0).square() / 2

    def extra_repr(self) -> str:
        return f"margin={self.margin}, normalise={self.normalise}, balanced={self.balanced}"


class AngularContrastiveLoss(PairLoss):
    """Angular margin contrastive loss (AMC) over all pairs of the global batch.

    For two samples whose embeddings have the angle theta between them, their geodesic distance on the sphere:
    theta^2 if they are of one class, else max(0, margin - theta)^2. Choi, Som and Turaga 2020, "AMC-Loss:
    Angular Margin Contrastive Loss for Improved Explainability in Image Classification" (arXiv:2004.09805).
    There the pairs are those of a batch's two halves, by place; here they are all pairs of different samples,
    and the loss is their mean. `balanced` is the sum of two means, over the pairs of one class and over the
    others. Where an angle is 0 or pi, its derivative is taken as 0.

    It is a module without parameters: see :class:`partialfc.BatchLoss` for its call.

    Args:
        margin (float): The angle in radians that samples of two classes are to have at least, in (0, pi].
            Default 0.5.
        balanced (bool): See above. Default False.
        process_group (torch.distributed.ProcessGroup | None): The ranks of the global batch; None (default)
            for the default group, or this process alone where there is none.

    Raises:
        ValueError: for an argument of another type or out of its range.
    """

    def __init__(
        self,
        *,
        margin: float = 0.5,
        balanced: bool = False,
        process_group: dist.ProcessGroup | None = None,
    ) -> None:
        margin = above("margin", margin, 0.0, at_most=math.pi)
        super().__init__(margin, None, balanced=balanced, process_group=process_group)

    def measure(self, own: Tensor, others: Tensor) -> Tensor:
        return angles(own, others)

    def genuine(self, distance: Tensor) -> Tensor:
        return distance.square()

    def impostor(self, distance: Tensor) -> Tensor:
        return (self.margin - distance).clamp_min(0).square()

    def extra_repr(self) -> str:
        return f"margin={self.margin}, balanced={self.balanced}"
