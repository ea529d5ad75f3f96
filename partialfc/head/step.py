"""One batch's arithmetic, from this rank's embeddings to the global loss and its gradient.

Functions of their arguments alone, in the order in which a step calls them. What lasts from step to step (the
centres, the margin's state, the count of steps) is PartialFC's; collectives are those of the World passed in.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from partialfc.distributed.accelerator import on_device
from partialfc.distributed.world import World
from partialfc.head.agreement import Agreed
from partialfc.head.batch import GlobalBatch, LocalBatch
from partialfc.head.gradient import BatchGradient
from partialfc.head.kernels import elementwise, per_sample
from partialfc.head.loss import Weights, loss_of, targets_of
from partialfc.head.margins.samples import Samples
from partialfc.head.rows import Rows
from partialfc.head.sampling import Indices, sample_rows, sample_size
from partialfc.head.shard import ClassShard
from partialfc.head.softmax import PassOne, Softmax
from partialfc.head.weights import share_of, with_class_weights


def gather(
    world: World,
    embeddings: Tensor,
    agreed: Agreed,
    *,
    gather_dtype: torch.dtype | None,
    math_dtype: torch.dtype,
    fused: bool,
) -> GlobalBatch:
    """This rank's embeddings [B, D], and what was agreed on -> the batch of all ranks; collective.

    gather_dtype: what embeddings are sent in, None for their own dtype; fused: as of a Softmax.
    """
    valid, counts = agreed.valid, agreed.counts
    sent = embeddings.detach()
    if len(valid) < len(sent):
        sent = sent[on_device(torch.from_numpy(valid), sent.device)]
    if gather_dtype is not None:
        sent = sent.to(gather_dtype)
    gathered = world.all_gather_rows(sent, counts).to(math_dtype)
    unit, norm = elementwise.normalised(gathered, compiled=fused)
    begin = sum(counts[: world.rank])
    return GlobalBatch(
        labels=agreed.labels,
        embeddings=gathered,
        unit=unit,
        norm=norm,
        share=share_of(agreed.weights, len(agreed.labels), gathered),
        counts=counts,
        own=slice(begin, begin + len(valid)),
        valid=valid,
        local_size=len(embeddings),
    )


def targets_here(shard: ClassShard, labels: Indices) -> tuple[Indices, Indices]:
    """Class ids [N] -> the samples [T] whose target lies in the shard, and its local row [T], ascending."""
    samples, rows = shard.locate(labels)
    order = np.argsort(rows, kind="stable")
    return samples[order], rows[order]


def participating_rows(
    shard: ClassShard, labels: Indices, *, sample_rate: float, seed: int, step: int
) -> Indices | None:
    """The global batch's labels [N] -> the shard's rows [K] that take part in a training step; None: all."""
    size = sample_size(shard.num_classes, sample_rate)
    return None if size == shard.num_classes else sample_rows(shard, labels, size, seed=seed, step=step)


def target_centres(targets: Rows, *, fused: bool) -> Tensor:
    """The targets' rows as they are now -> their unit centres [T, D]."""
    size = targets.weight.values.shape[1]
    out = targets.weight.values.new_empty(targets.count, size, dtype=targets.dtype)
    return targets.chunk(0, targets.count).unit_centres(out, compiled=fused)


def local_batch(
    world: World,
    gathered: GlobalBatch,
    samples: Indices,
    target_rows: Indices,
    centres: Tensor,
    rows: Rows,
    *,
    class_weights: Tensor | None,
    seed: int,
    step: int,
    fused: bool,
) -> LocalBatch:
    """The batch as this rank's shard sees it; collective, for the target cosines.

    samples, target_rows, centres and class_weights: of the T targets here, by ascending row; rows: the K that
    take part; seed and step: what a margin's draws are keyed by; fused: as of a Softmax.
    """
    unit, share = gathered.unit, gathered.share
    columns = target_rows if rows.rows is None else np.searchsorted(rows.rows, target_rows)
    target_column = np.full(len(unit), -1, np.int32)
    target_column[samples] = columns
    target_samples = on_device(torch.from_numpy(samples), unit.device)
    of_targets = unit.new_zeros(1 if class_weights is None else 2, len(unit))
    of_targets[0, target_samples] = per_sample.target_cosines(unit, target_samples, centres, compiled=fused)
    if class_weights is not None:
        of_targets[1, target_samples] = class_weights
    target_cos, *of_classes = world.all_reduce_sum(of_targets)
    return LocalBatch(
        unit=unit,
        samples=Samples(target_cos, gathered.norm, classes=gathered.labels, seed=seed, step=step),
        share=with_class_weights(share, *of_classes) if of_classes else share,
        rows=rows.rows,
        index=rows.index,
        num_rows=rows.count,
        target_columns=columns,
        target_samples=target_samples,
        target_column=on_device(torch.from_numpy(target_column), unit.device),
    )


@dataclass(frozen=True, slots=True)
class LossGradient:
    """The gradient of a batch's loss by the embeddings, and how to get the one by the centres."""

    by_embeddings: Tensor  # [B, D] of this rank's samples, times W
    pass_two: Callable[[Tensor], BatchGradient]  # from the gradient by the loss, a scalar tensor


def forward(
    world: World,
    softmax: Softmax,
    gathered: GlobalBatch,
    batch: LocalBatch,
    centres: Tensor,
    rows: Rows,
    *,
    taken: int,
    wants_gradient: bool,
) -> tuple[Tensor, LossGradient | None]:
    """Pass 1 over the K rows -> the global mean loss, a scalar, and its gradient if wanted; collective.

    centres [T, D]: the unit centres of the targets here; taken: the bytes that earlier batches keep already.
    """
    targets = targets_of(softmax.margin, batch.samples, fused=softmax.fused)
    first = softmax.negative_sums(batch, rows, keep=wants_gradient, taken=taken)
    sums, by_target = over_ranks(world, first)
    loss, weights = loss_of(
        targets,
        sums,
        by_target,
        share=batch.share,
        shift=softmax.shift(gathered.norm.dtype),
        slope=softmax.slope,
        dtype=softmax.compute_dtype,
        fused=softmax.fused,
    )
    if not wants_gradient:
        return loss, None
    gradient = embedding_gradient(world, gathered, batch, centres, weights, first.pull, fused=softmax.fused)
    return loss, LossGradient(gradient, partial(BatchGradient, softmax, batch, first.kept, weights))


def over_ranks(world: World, first: PassOne) -> tuple[Tensor, Tensor | None]:
    """The sums of pass 1 over all ranks, each [N]: of E, and of E · dlogit/dtarget_cos; collective."""
    if first.by_target is None:
        return world.all_reduce_sum(first.sums), None
    sums, by_target = world.all_reduce_sum(torch.stack([first.sums, first.by_target])).unbind()
    return sums, by_target


def embedding_gradient(
    world: World,
    gathered: GlobalBatch,
    batch: LocalBatch,
    centres: Tensor,
    weights: Weights,
    pull: Tensor,
    *,
    fused: bool,
) -> Tensor:
    """The negatives' pull [N, D], which is overwritten -> the gradient by this rank's embeddings [B, D].

    Collective. Times W, for the averaging of DistributedDataParallel; 0 for ignored samples.
    """
    by_unit = pull.mul_(weights.negatives[:, None])
    samples = batch.target_samples
    targets = per_sample.weighted_targets(centres, weights.target, samples, compiled=fused)
    by_unit.index_add_(0, samples, targets)
    by_unit = world.reduce_scatter_rows(by_unit, gathered.counts)
    own = gathered.own
    embeddings, unit, by_norm = gathered.embeddings[own], gathered.unit[own], weights.norm[own]
    gradient = per_sample.by_embeddings(by_unit, embeddings, unit, by_norm, world.size, compiled=fused)
    if len(gradient) == gathered.local_size:
        return gradient
    everything = gradient.new_zeros(gathered.local_size, gradient.shape[1])
    everything[on_device(torch.from_numpy(gathered.valid), gradient.device)] = gradient
    return everything
