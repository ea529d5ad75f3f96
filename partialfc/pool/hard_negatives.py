"""The loss of samples whose class is not in the pool: the cosines to the nearest rows are to fall."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from partialfc.distributed.world import World
from partialfc.head.batch import GlobalBatch
from partialfc.head.kernels import per_sample
from partialfc.head.kernels.chunks import chunk_rows, limits_of
from partialfc.head.rows import Rows
from partialfc.head.softmax import Softmax


@dataclass(frozen=True, slots=True)
class Nearest:
    """The classes of a rank's rows that are nearest to each of n samples, the nearest first."""

    scores: Tensor  # [n, k] cosines, -inf where there are fewer than k rows
    lines: Tensor  # [n, k] the lines of the rows, see head/rows.py


def hard_negative_loss(
    world: World,
    softmax: Softmax,
    batch: GlobalBatch,
    rows: Rows,
    *,
    k: int,
    total: int,
    wants_gradient: bool,
) -> tuple[Tensor, Tensor | None]:
    """The mean of max(0, cos) over the k nearest of all rows, of this batch's samples [n], divided by total.

    rows: this rank's; world: the ranks that have the others, and their own samples in the batch. Returns the
    sum over the batch by k · total, and if wanted its gradient by this rank's embeddings [B, D], 0 for those
    that are not in the batch. Collective. Where several rows are equally near, any of them counts.
    """
    rows = replace(rows, kind=rows.kind._replace(unit=True))
    nearest = nearest_rows(softmax, batch.unit, rows, k)
    scores, count = nearest.scores, len(nearest.scores)
    of_all = world.all_gather_rows(scores.contiguous(), [count] * world.size)
    of_all = of_all.view(world.size, count, k).transpose(0, 1).flatten(1)  # [n, W·k]
    best, columns = of_all.topk(k, dim=1)
    share = 1.0 / (k * total)
    value = best.clamp_min(0.0).sum() * share
    if not wants_gradient:
        return value, None
    counts = torch.zeros_like(of_all).scatter_(1, columns, (best > 0).to(best.dtype) * share)
    weights = counts[:, world.rank * k : (world.rank + 1) * k]
    by_unit = weighted_rows(rows, nearest.lines, weights)
    by_unit = world.reduce_scatter_rows(by_unit, batch.counts)
    own, nothing = batch.own, torch.zeros_like(batch.norm[batch.own])
    given = (by_unit, batch.embeddings[own], batch.unit[own], nothing)
    gradient = per_sample.by_embeddings(*given, world.size, True, compiled=softmax.fused)
    return value, batch.of_all_samples(gradient)


def nearest_rows(softmax: Softmax, unit: Tensor, rows: Rows, k: int) -> Nearest:
    """Unit embeddings [n, D] -> the k classes of the rows with the largest cosines, chunk by chunk."""
    scores = unit.new_full((len(unit), k), -torch.inf)
    lines = torch.zeros(len(unit), k, dtype=torch.int64, device=unit.device)
    per_class, dtype = rows.kind.per_row, softmax.compute_dtype
    samples, size = (each * per_class for each in unit.shape)
    limits = limits_of(unit.device)
    per_chunk = chunk_rows(rows.count, samples=samples, size=size, itemsize=dtype.itemsize, limits=limits)
    used = unit.to(dtype)
    shape = (min(per_chunk, rows.count) * per_class, unit.shape[1])
    with softmax.pool.lend(shape, dtype, unit.device) as buffer:
        for chunk in rows.chunks(per_chunk):
            centres = chunk.used_centres(buffer, compiled=softmax.compiled)
            cos = (used @ centres.T).to(unit.dtype)
            place = None
            if per_class > 1:
                of_classes = (len(unit), chunk.stop - chunk.start, per_class)
                cos, place = cos.view(of_classes).max(dim=2)
            found, columns = cos.topk(min(k, cos.shape[1]), dim=1)
            found_lines = (chunk.start + columns) * per_class
            if place is not None:
                found_lines += place.gather(1, columns)
            scores = torch.cat([scores, found], dim=1)
            lines = torch.cat([lines, found_lines], dim=1)
            scores, columns = scores.topk(k, dim=1)
            lines = lines.gather(1, columns)
    return Nearest(scores, lines)


def weighted_rows(rows: Rows, lines: Tensor, weights: Tensor) -> Tensor:
    """Lines [n, k] of the rows and their weights [n, k] -> the sum of the unit rows so weighted [n, D]."""
    count, k = lines.shape
    if not len(rows.weight.values):
        return weights.new_zeros(count, rows.weight.values.shape[1])
    chosen = rows.weight.values[lines.flatten()].to(rows.dtype)
    unit = torch.nn.functional.normalize(chosen, dim=1, eps=1e-12)
    return torch.bmm(weights[:, None, :], unit.view(count, k, unit.shape[1])).squeeze(1)
