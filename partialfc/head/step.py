"""One batch's arithmetic, from this rank's embeddings to the global loss and its gradient.

Functions of their arguments alone, in the order in which a step calls them. What lasts from step to step (the
centres, the margin's state, the count of steps) is PartialFC's; collectives are those of the World passed in.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
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
from partialfc.head.margins.base import Margin
from partialfc.head.margins.samples import Samples
from partialfc.head.prepared import prepare
from partialfc.head.rows import Rows
from partialfc.head.sampling import Indices, sample_rows, sample_size
from partialfc.head.shard import ClassShard
from partialfc.head.softmax import Softmax
from partialfc.head.targets import TargetsHere
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


def participating_rows(
    shard: ClassShard, labels: Indices, *, sample_rate: float, seed: int, step: int
) -> Indices | None:
    """The global batch's labels [N] -> the shard's rows [K] that take part in a training step; None: all."""
    size = sample_size(shard.num_classes, sample_rate)
    return None if size == shard.num_classes else sample_rows(shard, labels, size, seed=seed, step=step)


def local_batch(
    world: World,
    gathered: GlobalBatch,
    targets: TargetsHere,
    rows: Rows,
    *,
    corrections: Tensor | None,
    offset_bound: float,
    seed: int,
    step: int,
) -> LocalBatch:
    """The batch as this rank's shard sees it; collective, for what each sample has to know of its target.

    rows: the K that take part; corrections [K]: what is added to their logits, at most offset_bound; seed and
    step: what a margin's draws are keyed by.
    """
    unit, share, device = gathered.unit, gathered.share, gathered.unit.device
    columns = targets.rows if rows.rows is None else np.searchsorted(rows.rows, targets.rows)
    on_host = np.full(len(unit), -1, np.int32)
    on_host[targets.samples_on_host] = columns
    target_column = target_line = on_device(torch.from_numpy(on_host), device)
    if targets.nearest is not None:
        target_line = target_column * rows.kind.per_row
        target_line[targets.samples] += targets.nearest
    told = targets.told_to_all(world, unit)
    product, centre_norm = told["product"], told.get("centre_norm")
    samples = Samples(
        product if centre_norm is None else (product / centre_norm).clamp(-1.0, 1.0),
        gathered.norm,
        centre_norm=centre_norm,
        class_margin=told.get("class_margin"),
        classes=gathered.labels,
        seed=seed,
        step=step,
    )
    offsets = rows.biases()
    if corrections is not None:
        offsets = corrections if offsets is None else offsets + corrections
    return LocalBatch(
        unit=unit,
        samples=samples,
        share=with_class_weights(share, told["class_weight"]) if "class_weight" in told else share,
        rows=rows.rows,
        index=rows.index,
        num_rows=rows.count,
        target_columns=columns,
        target_samples=targets.samples,
        target_column=target_column,
        target_line=target_line,
        per_class=rows.kind.per_row,
        offsets=offsets,
        offset_bound=offset_bound,
        target_offset=told.get("bias"),
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
    centres_move: bool = True,
    seen_by: Margin | None = None,
) -> tuple[Tensor, LossGradient | None]:
    """Pass 1 over the K rows -> the global mean loss, a scalar, and its gradient if wanted; collective.

    centres [T, D]: those of the targets here; taken: the bytes that earlier batches keep already;
    centres_move False: pass 2 will not follow, so nothing is kept for it; seen_by: what gives the targets'
    logits in place of the margin itself.
    """
    margin, samples = seen_by or softmax.margin, batch.samples
    prepared = prepare(margin, samples)
    batch = replace(batch, samples=replace(samples, prepared=prepared.value))
    targets = targets_of(margin, samples, batch.target_offset, fused=softmax.fused and softmax.settled)
    first = softmax.negative_sums(batch, rows, targets, keep=wants_gradient and centres_move, taken=taken)
    if isinstance(first.shift, Tensor):
        first = first.shifted(world.all_reduce_max(first.shift))
    sums, by_target = over_ranks(world, first.sums, first.by_target and prepared.by_cos(first.by_target))
    loss, weights = loss_of(
        targets,
        sums,
        by_target,
        share=batch.share,
        shift=first.shift,
        slope=softmax.slope(samples),
        dtype=softmax.compute_dtype,
        fused=softmax.fused,
    )
    if not wants_gradient:
        return loss, None
    gradient = embedding_gradient(
        *(world, gathered, batch, centres, weights, first.pull),
        unit=margin.normalises_embeddings,
        fused=softmax.fused,
    )
    radial = radial_gradient(batch, centres, weights)
    pass_two = partial(BatchGradient, softmax, batch, first.kept, first.shift, weights, radial)
    return loss, LossGradient(gradient, pass_two)


def over_ranks(world: World, sums: Tensor, by_target: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Sums of pass 1 [N] over all ranks: of E, and of E · dlogit/dtarget_cos if that is not 0; collective."""
    if by_target is None:
        return world.all_reduce_sum(sums), None
    sums, by_target = world.all_reduce_sum(torch.stack([sums, by_target])).unbind()
    return sums, by_target


def radial_gradient(batch: LocalBatch, centres: Tensor, weights: Weights) -> Tensor | None:
    """The gradient by the norms of the targets' centres [T, D], along these; None where they do not count."""
    if weights.centre_norm is None:
        return None
    return centres * elementwise.inverse_norms(centres) * weights.centre_norm[batch.target_samples, None]


def embedding_gradient(
    world: World,
    gathered: GlobalBatch,
    batch: LocalBatch,
    centres: Tensor,
    weights: Weights,
    pull: Tensor,
    *,
    unit: bool,
    fused: bool,
) -> Tensor:
    """The negatives' pull [N, D], which is overwritten -> the gradient by this rank's embeddings [B, D].

    unit: whether embeddings count by their direction alone. Collective. Times W, for the averaging of
    DistributedDataParallel; 0 for ignored samples.
    """
    by_unit = pull.mul_(weights.negatives[:, None])
    samples = batch.target_samples
    targets = per_sample.weighted_targets(centres, weights.target, samples, compiled=fused)
    by_unit.index_add_(0, samples, targets)
    by_unit = world.reduce_scatter_rows(by_unit, gathered.counts)
    own = gathered.own
    given = (by_unit, gathered.embeddings[own], gathered.unit[own], weights.norm[own])
    return gathered.of_all_samples(per_sample.by_embeddings(*given, world.size, unit, compiled=fused))
