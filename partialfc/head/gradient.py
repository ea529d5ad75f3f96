"""Pass 2 over one rank's participating centres, in chunks: the centres' gradient.

It takes the exponentials that pass 1 kept, head/softmax.py, and computes again those that did not fit
its budget. Several batches may wait for one step; each row comes once, with the sum of its gradients.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from partialfc.distributed.accelerator import on_device
from partialfc.head.batch import LocalBatch
from partialfc.head.kernels import per_sample
from partialfc.head.loss import Weights
from partialfc.head.rows import Chunk, Rows
from partialfc.head.softmax import Kept, Softmax, cosines, transposed


class BatchGradient:
    """Pass 2 for one batch; scale: the gradient by its loss, a scalar tensor.

    unsound []: 0, or NaN where the centres' gradient is not finite, by the weights of all samples: the same
    on every rank.

    A target goes through the same GEMM as the negatives, which multiplies all of a sample's column by its
    weight on negatives. The target's entry is therefore its own weight divided by that one.
    """

    def __init__(
        self,
        softmax: Softmax,
        batch: LocalBatch,
        kept: Kept,
        weights: Weights,
        scale: Tensor,
    ) -> None:
        self.softmax = softmax
        self.batch = batch
        self.kept = kept
        self._target_ratio = weights.ratio
        self._unit_t: Tensor | None = None
        self._weights_of_samples, self._scale = weights.negatives, scale
        self.unsound = per_sample.unsound(weights.unsound, scale, compiled=softmax.fused)
        self._put_targets(kept.values, 0)

    def keeps(self, stop: int) -> bool:
        """Whether the exponentials of columns up to `stop` need not be computed again."""
        return stop <= len(self.kept.values)

    def pushing(self, factor: Tensor | None) -> Tensor:
        """The unit embeddings [N, D] with their weight, as `by_centres` wants them; factor []: of it all."""
        dtype, fused = self.softmax.compute_dtype, self.softmax.fused
        return per_sample.weighted_embeddings(
            self.batch.unit, self._weights_of_samples, self._scale, factor, dtype, compiled=fused
        )

    def by_centres(
        self, start: int, stop: int, centres: Tensor | None, pushing: Tensor, *, out: Tensor
    ) -> Tensor:
        """out [k, D]: the gradient by the unit centres [k, D] of columns start..stop-1.

        centres are those unit centres in the GEMMs' dtype; where `keeps(stop)` they are not needed: None.
        """
        return torch.mm(self._weights(start, stop, centres), pushing, out=out)

    def _weights(self, start: int, stop: int, centres: Tensor | None) -> Tensor:
        """The exponentials of columns start..stop-1 [k, N], targets put in; kept ones or computed again."""
        if self.keeps(stop):
            return self.kept.values[start:stop]
        assert centres is not None
        if self._unit_t is None:
            self._unit_t = transposed(self.batch.unit, centres.dtype)
        values = cosines(centres, self._unit_t)
        columns = torch.arange(start, stop, dtype=torch.int32, device=values.device)
        self.softmax.exponentials(values, self.batch, start, columns)
        self._put_targets(values, start)
        return values

    def _put_targets(self, values: Tensor, start: int) -> None:
        columns, samples = self.batch.target_column, self.batch.targets_in(start, start + len(values))
        if len(samples):
            per_sample.put_targets(
                values, columns, samples, start, self._target_ratio, compiled=self.softmax.fused
            )


def row_gradients(
    gradients: list[BatchGradient], rows: Rows, factor: Tensor | None = None
) -> Iterator[tuple[Chunk, Tensor]]:
    """Pass 2 over the union of the batches' rows: yields (rows, gradient by their unit centres [k, D]).

    factor []: what the sum of the gradients is multiplied by.
    Each row comes once, so its centre may be overwritten as soon as it has come. The gradient is good until
    the next chunk is asked for, which is computed in the same memory.
    """
    softmax, batch = gradients[0].softmax, gradients[0].batch
    per_chunk = min(each.softmax.chunk_rows(each.batch, rows.count) for each in gradients)
    shape, dtype, device = (per_chunk, batch.unit.shape[1]), softmax.compute_dtype, batch.unit.device
    pushing = [each.pushing(factor) for each in gradients]
    with softmax.pool.lend(shape, dtype, device) as gradient_buffer, ExitStack() as loans:
        centres_buffer = None
        for chunk in rows.chunks(per_chunk):
            columns = [_columns_in(each.batch, chunk, rows.count) for each in gradients]
            centres = None
            if not all(each.keeps(own.stop) for each, own in zip(gradients, columns, strict=True)):
                if centres_buffer is None:
                    centres_buffer = loans.enter_context(softmax.pool.lend(shape, dtype, device))
                centres = chunk.unit_centres(centres_buffer, compiled=softmax.compiled)
            total = gradient_buffer[: chunk.stop - chunk.start]
            if len(gradients) == 1:
                yield chunk, gradients[0].by_centres(chunk.start, chunk.stop, centres, pushing[0], out=total)
                continue
            total = torch.zeros_like(total, dtype=batch.unit.dtype)
            for each, own, push in zip(gradients, columns, pushing, strict=True):
                among = None if own.among is None else on_device(torch.from_numpy(own.among), device)
                needed = centres if centres is None or among is None else centres[among]
                out = gradient_buffer[: own.stop - own.start]
                of_batch = each.by_centres(own.start, own.stop, needed, push, out=out).to(total.dtype)
                total = total.add_(of_batch) if among is None else total.index_add_(0, among, of_batch)
            yield chunk, total


def union_of_rows(gradients: list[BatchGradient]) -> npt.NDArray[np.int64] | None:
    """The local rows that take part in any of the batches; None for every row of the shard."""
    rows = gradients[0].batch.rows
    for gradient in gradients[1:]:
        if rows is None or gradient.batch.rows is None:
            return None
        rows = np.union1d(rows, gradient.batch.rows)
    return rows


@dataclass(frozen=True, slots=True)
class _Columns:
    """The columns of a batch that lie in a chunk; among: which of the chunk's rows they are, None for all."""

    start: int
    stop: int
    among: npt.NDArray[np.int64] | None


def _columns_in(batch: LocalBatch, chunk: Chunk, num_rows: int) -> _Columns:
    if batch.rows is None or batch.num_rows == num_rows:
        return _Columns(chunk.start, chunk.stop, None)
    rows = chunk.host_rows()
    low, high = np.searchsorted(batch.rows, (rows[0], rows[-1] + 1)).tolist()
    return _Columns(low, high, np.searchsorted(rows, batch.rows[low:high]))
