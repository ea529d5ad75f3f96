"""The classes whose centres are nearest to an embedding, over all shards: the best so far, chunk by chunk."""

from dataclasses import replace

import torch
from torch import Tensor

from partialfc.distributed.world import World
from partialfc.head.agreement import agree_on_query
from partialfc.head.kernels import elementwise
from partialfc.head.kernels.chunks import chunk_rows, limits_of
from partialfc.head.rows import Rows
from partialfc.head.shard import ClassShard


def top_k(world: World, shard: ClassShard, rows: Rows, embeddings: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """This rank's embeddings [B, D] -> the largest cosines [B, k] and their classes [B, k]; collective.

    rows: all of the shard, as they are now. Cosines and the results have the dtype of its arithmetic. Each
    rank finds the best of its shard for the embeddings of all ranks, and then gets those for its own.
    """
    device, per_class = rows.weight.values.device, rows.kind.per_row
    size = rows.weight.values.shape[1]
    counts, k = agree_on_query(
        world, embeddings, k, embedding_size=size, num_classes=shard.num_classes, device=device
    )
    gathered = world.all_gather_rows(embeddings.detach(), counts).to(rows.dtype)
    unit = gathered * elementwise.inverse_norms(gathered)
    itemsize, limits = unit.dtype.itemsize, limits_of(device)
    samples, row_size = len(unit) * per_class, size * per_class
    per_chunk = chunk_rows(rows.count, samples=samples, size=row_size, itemsize=itemsize, limits=limits)
    scores, local_rows = best_of_shard(rows, unit, k, per_chunk)
    # By rank, and so by ascending class: [B, W, k] -> [B, W·k].
    scores = world.exchange_rows(scores, counts).transpose(0, 1).flatten(1)
    classes = world.exchange_rows(local_rows + shard.start, counts).transpose(0, 1).flatten(1)
    best = first_largest(scores, k)
    return scores.gather(1, best), classes.gather(1, best)


def best_of_shard(rows: Rows, unit: Tensor, k: int, per_chunk: int) -> tuple[Tensor, Tensor]:
    """Unit embeddings [N, D] -> the k largest cosines [N, k] to the shard's centres, and their rows [N, k].

    per_chunk: rows at a time. Where the shard has fewer than k rows, cosines of -inf follow.
    """
    scores = unit.new_full((len(unit), k), -torch.inf)
    best_rows = torch.zeros(len(unit), k, dtype=torch.int64, device=unit.device)
    rows = replace(rows, kind=rows.kind._replace(unit=True))
    per_class = rows.kind.per_row
    buffer = unit.new_empty(min(per_chunk, rows.count) * per_class, unit.shape[1])
    for chunk in rows.chunks(per_chunk):
        of_chunk = torch.mm(unit, chunk.used_centres(buffer, compiled=False).T)
        if per_class > 1:
            of_chunk = of_chunk.view(len(unit), -1, per_class).amax(dim=2)
        columns = first_largest(of_chunk, k)
        # Rows of earlier chunks come first, so ties keep the lower class here too.
        scores = torch.cat([scores, of_chunk.gather(1, columns)], dim=1)
        best_rows = torch.cat([best_rows, columns + chunk.start], dim=1)
        best = first_largest(scores, k)
        scores, best_rows = scores.gather(1, best), best_rows.gather(1, best)
    return scores, best_rows


def first_largest(values: Tensor, k: int) -> Tensor:
    """values [N, m] -> the columns of each row's k largest [N, min(k, m)], largest first.

    Among equal values the lower column is taken, and comes first; torch.topk promises neither.
    """
    k = min(k, values.shape[1])
    largest, columns = values.topk(k, dim=1)
    if k == 0:
        return columns
    cut = (values >= largest[:, -1:]).sum(dim=1) > k  # where values equal to the last one are left out
    if cut.any():
        columns[cut] = values[cut].sort(dim=1, descending=True, stable=True).indices[:, :k]
    columns = columns.sort(dim=1).values
    order = values.gather(1, columns).sort(dim=1, descending=True, stable=True).indices
    return columns.gather(1, order)
