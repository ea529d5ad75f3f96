"""The margin softmax over a pool's rows of the samples whose class is in it, with the head's own arithmetic.

The rows are constants to the gradient, so there is no pass 2, and nothing is kept for one.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from partialfc.distributed.accelerator import on_device
from partialfc.distributed.world import World
from partialfc.head.agreement import Agreed
from partialfc.head.batch import GlobalBatch
from partialfc.head.margins.base import Margin
from partialfc.head.margins.samples import Samples
from partialfc.head.rows import Rows, index_of
from partialfc.head.shard import ClassShard
from partialfc.head.softmax import Softmax
from partialfc.head.step import forward, local_batch
from partialfc.head.targets import targets_here, targets_of_shard

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Place:
    """Of which batch a pool's arithmetic is: seed and step key a margin's draws, training moves its state."""

    seed: int
    step: int
    training: bool


def own_part(agreed: Agreed, world: World) -> Agreed:
    """What was agreed on, of this rank's samples alone, as if there were no other ranks."""
    begin = sum(agreed.counts[: world.rank])
    count = agreed.counts[world.rank]
    return replace(agreed, labels=agreed.labels[begin : begin + count], counts=[count])


def part_of(batch: GlobalBatch, which: Indices, world: World, *, total: int) -> GlobalBatch:
    """Samples `which` [n], ascending, of a batch; each counts 1 / total in the mean."""
    rank_of = np.repeat(np.arange(world.size), batch.counts)[which]
    counts = np.bincount(rank_of, minlength=world.size).tolist()
    begin = sum(counts[: world.rank])
    own = slice(begin, begin + counts[world.rank])
    index = on_device(torch.from_numpy(which), batch.unit.device)
    return GlobalBatch(
        labels=batch.labels[which],
        embeddings=batch.embeddings[index],
        unit=batch.unit[index],
        norm=batch.norm[index],
        share=1.0 / max(total, 1),
        counts=counts,
        own=own,
        valid=batch.valid[which[own] - batch.own.start],
        local_size=batch.local_size,
    )


def classified_loss(
    world: World,
    everyone: World,
    softmax: Softmax,
    batch: GlobalBatch,
    slots: Indices,
    rows: Rows,
    shard: ClassShard,
    place: Place,
    *,
    counts: list[int],
    classes: Indices,
    wants_gradient: bool,
) -> tuple[Tensor, Tensor | None]:
    """The batch's part of the mean margin softmax, and if wanted the gradient by this rank's [B, D].

    slots [n]: where the samples' classes lie; rows: this rank's, those of its shard of the slots; world: the
    ranks that share the rows, whose samples the batch has; everyone: all ranks, of which each has counts [W]
    of all samples in the mean, whose classes [n] these are. Collective.
    """
    samples, target_rows = targets_here(shard, slots)
    index = index_of(target_rows, batch.unit.device)
    targets = targets_of_shard(
        batch.unit,
        samples,
        replace(rows, rows=target_rows, index=index),
        class_weights=None,
        class_margins=None,
        fused=softmax.fused,
    )
    apart = world.size < everyone.size
    local = local_batch(
        world,
        batch,
        targets,
        rows,
        corrections=None,
        offset_bound=0.0,
        seed=place.seed,
        step=place.step,
    )
    whole = of_all_ranks(everyone, local.samples, counts, classes) if apart else local.samples
    if place.training:
        softmax.margin.update(whole)
    begin = sum(counts[: everyone.rank])
    own = slice(begin, begin + counts[everyone.rank])
    loss, gradient = forward(
        world,
        softmax,
        batch,
        local,
        targets.centres,
        rows,
        taken=0,
        wants_gradient=wants_gradient,
        centres_move=False,
        seen_by=OfWholeBatch(softmax.margin, whole, own) if apart else None,
    )
    return loss, None if gradient is None else gradient.by_embeddings


def of_all_ranks(world: World, samples: Samples, counts: list[int], classes: Indices) -> Samples:
    """This rank's samples as a margin sees them -> those of all ranks, counts [W], of classes [n].

    Collective.
    """
    parts = [samples.cos, samples.norm]
    if samples.centre_norm is not None:
        parts.append(samples.centre_norm)
    cos, norm, *rest = world.all_gather_rows(torch.stack(parts, dim=1), counts).unbind(1)
    centre_norm = rest[0] if rest else None
    return replace(samples, cos=cos, norm=norm, centre_norm=centre_norm, classes=classes)


class OfWholeBatch(Margin):
    """A margin that sees the samples of all ranks, for a rank that has its own alone, of which it tells."""

    def __init__(self, margin: Margin, whole: Samples, own: slice) -> None:
        super().__init__(scale=margin.scale)
        self._margin = (margin,)  # in a tuple, so that it is no part of this module
        self._whole, self._own = whole, own
        self.normalises_centres = margin.normalises_centres
        self.normalises_embeddings = margin.normalises_embeddings

    @property
    def reweights_negatives(self) -> bool:
        return self._margin[0].reweights_negatives

    def target(self, samples: Samples) -> Tensor:
        return self._margin[0].target(self._among_all(samples))[self._own]

    def prepare(self, samples: Samples) -> Tensor | None:
        prepared = self._margin[0].prepare(self._among_all(samples))
        return None if prepared is None else prepared[..., self._own]

    def regulariser(self, samples: Samples) -> Tensor | None:
        penalty = self._margin[0].regulariser(self._among_all(samples))
        return None if penalty is None else penalty[self._own]

    def _among_all(self, own: Samples) -> Samples:
        whole = self._whole
        centre_norm = own.centre_norm
        if centre_norm is not None and whole.centre_norm is not None:
            centre_norm = self._with(whole.centre_norm, centre_norm)
        cos, norm = self._with(whole.cos, own.cos), self._with(whole.norm, own.norm)
        return replace(whole, cos=cos, norm=norm, centre_norm=centre_norm)

    def _with(self, whole: Tensor, own: Tensor) -> Tensor:
        return torch.cat([whole[: self._own.start], own, whole[self._own.stop :]])
