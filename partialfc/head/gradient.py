"""Pass 2 over one rank's participating centres, in chunks: the centres' gradient.

It takes the exponentials that pass 1 kept, head/softmax.py, and computes again those that did not fit
its budget. Several batches may wait for one step; each row comes once, with the sum of its gradients.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from partialfc.distributed.accelerator import on_device
from partialfc.head.batch import LocalBatch
from partialfc.head.kernels import per_sample
from partialfc.head.loss import Weights
from partialfc.head.pass_one import Kept
from partialfc.head.rows import Chunk, Rows
from partialfc.head.softmax import Softmax, cosines, transposed


class Pushing(NamedTuple):
    """What the exponentials of a batch are multiplied by, or joined by, to give the centres' gradient."""

    embeddings: Tensor  # [N, D] unit embeddings with their weight
    radial: Tensor | None  # [T, D] along the targets' centres, where their norms count
    by_bias: Tensor | None  # [N] the weight of a negative's logit, where there are biases
    target_by_bias: Tensor | None  # [N] what a target's own differs by


class BatchGradient:
    """Pass 2 for one batch; scale: the gradient by its loss, a scalar tensor.

    kept and shift: of pass 1; radial [T, D]: the gradient along the targets' centres, where their norms
    count. unsound []: 0, or NaN where the centres' gradient is not finite, by the weights of all samples: the
    same on every rank.

    A target goes through the same GEMM as the negatives, which multiplies all of a sample's column by its
    weight on negatives. The target's entry is therefore its own weight divided by that one.
    """

    def __init__(
        self,
        softmax: Softmax,
        batch: LocalBatch,
        kept: Kept,
        shift: float | Tensor,
        weights: Weights,
        radial: Tensor | None,
        scale: Tensor,
    ) -> None:
        self.softmax = softmax
        self.batch = batch
        self.kept, self._shift = kept, shift
        self._weights, self._radial, self._scale = weights, radial, scale
        self._unit_t: Tensor | None = None
        self.unsound = per_sample.unsound(weights.unsound, scale, compiled=softmax.fused)
        self._put_targets(self.kept.values, 0)

    def keeps(self, stop: int) -> bool:
        """Whether the exponentials of columns up to `stop` need not be computed again."""
        return stop * self.batch.per_class <= len(self.kept.values)

    def pushing(self, factor: Tensor | None) -> Pushing:
        """What `by_centres` and `by_biases` want; factor []: of it all."""
        dtype, fused = self.softmax.compute_dtype, self.softmax.fused
        weights, unit = self._weights, self.batch.unit
        embeddings = per_sample.weighted_embeddings(
            unit, weights.negatives, self._scale, factor, dtype, compiled=fused
        )
        scale = self._scale if factor is None else (self._scale * factor).to(unit.dtype)
        radial = None if self._radial is None else (self._radial * scale).to(dtype)
        if self.batch.target_offset is None:
            return Pushing(embeddings, radial, None, None)
        assert weights.target_logit is not None
        slope = self.softmax.slope(self.batch.samples)
        by_bias = weights.negatives / slope * scale
        target_by_bias = weights.target_logit * scale - weights.ratio.to(unit.dtype) * by_bias
        return Pushing(embeddings, radial, by_bias.to(dtype), target_by_bias.to(dtype))

    def by_centres(
        self, start: int, stop: int, centres: Tensor | None, pushing: Pushing, *, out: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """out [k·S, D]: the gradient by the centres of columns start..stop-1; beside it that by biases [k].

        centres [k·S, D] are those in the GEMMs' dtype; where `keeps(stop)` they are not needed: None.
        """
        values = self._values(start, stop, centres)
        gradient = torch.mm(values, pushing.embeddings, out=out)
        here = self.batch.targets_between(start, stop)
        samples = self.batch.target_samples[here]
        if pushing.radial is not None and len(samples):
            lines = self.batch.target_line[samples] - self.batch.lines(start, stop).start
            gradient.index_add_(0, lines, pushing.radial[here])
        if pushing.by_bias is None or pushing.target_by_bias is None:
            return gradient, None
        by_biases = torch.mv(values, pushing.by_bias)
        if self.batch.per_class > 1:
            by_biases = by_biases.view(stop - start, self.batch.per_class).sum(dim=1)
        columns = self.batch.target_column[samples] - start
        return gradient, by_biases.index_add_(0, columns, pushing.target_by_bias[samples])

    def _values(self, start: int, stop: int, centres: Tensor | None) -> Tensor:
        """The exponentials of columns start..stop-1 [k·S, N], targets put in; kept ones or computed again."""
        if self.keeps(stop):
            return self.kept.values[self.batch.lines(start, stop)]
        assert centres is not None
        if self._unit_t is None:
            self._unit_t = transposed(self.batch.unit, centres.dtype)
        values = cosines(centres, self._unit_t)
        columns = torch.arange(start, stop, dtype=torch.int32, device=values.device)
        self.softmax.exponentials(values, self.batch, start, columns, self._shift)
        self._put_targets(values, start)
        return values

    def _put_targets(self, values: Tensor, start: int) -> None:
        batch, first = self.batch, self.batch.lines(start, start).start
        samples = batch.targets_in(start, start + len(values) // batch.per_class)
        if len(samples):
            per_sample.put_targets(
                *(values, batch.target_line, samples, first, self._weights.ratio), compiled=self.softmax.fused
            )


def row_gradients(
    gradients: list[BatchGradient], rows: Rows, factor: Tensor | None = None
) -> Iterator[tuple[Chunk, Tensor, Tensor | None]]:
    """Pass 2 over the union of the batches' rows.

    Yields rows, the gradient by their centres as the products see them [k·S, D], and that by their biases [k]
    if there are any. factor []: what the sum of the gradients is multiplied by.
    Each row comes once, so its centre may be overwritten as soon as it has come. The gradient is good until
    the next chunk is asked for, which is computed in the same memory.
    """
    softmax, batch = gradients[0].softmax, gradients[0].batch
    per_chunk = min(each.softmax.chunk_rows(each.batch, rows.count) for each in gradients)
    per_class, size = batch.per_class, batch.unit.shape[1]
    shape, dtype, device = (per_chunk * per_class, size), softmax.compute_dtype, batch.unit.device
    pushing = [each.pushing(factor) for each in gradients]
    with softmax.pool.lend(shape, dtype, device) as gradient_buffer, ExitStack() as loans:
        centres_buffer = None
        for chunk in rows.chunks(per_chunk):
            columns = [_columns_in(each.batch, chunk, rows.count) for each in gradients]
            centres = None
            if not all(each.keeps(own.stop) for each, own in zip(gradients, columns, strict=True)):
                if centres_buffer is None:
                    centres_buffer = loans.enter_context(softmax.pool.lend(shape, dtype, device))
                centres = chunk.used_centres(centres_buffer, compiled=softmax.compiled)
            count = chunk.stop - chunk.start
            out = gradient_buffer[: count * per_class]
            if len(gradients) == 1:
                by_centres, by_biases = gradients[0].by_centres(
                    chunk.start, chunk.stop, centres, pushing[0], out=out
                )
                yield chunk, by_centres, by_biases
                continue
            total = torch.zeros(count, per_class * size, dtype=batch.unit.dtype, device=device)
            of_biases = None if pushing[0].by_bias is None else total.new_zeros(count)
            for each, own, push in zip(gradients, columns, pushing, strict=True):
                among = None if own.among is None else on_device(torch.from_numpy(own.among), device)
                needed = centres
                if centres is not None and among is not None:
                    needed = centres.view(count, -1)[among].view(-1, size)
                out = gradient_buffer[: (own.stop - own.start) * per_class]
                by_centres, by_biases = each.by_centres(own.start, own.stop, needed, push, out=out)
                _add(total, by_centres.view(-1, per_class * size), among)
                if of_biases is not None and by_biases is not None:
                    _add(of_biases, by_biases, among)
            yield chunk, total.view(-1, size), of_biases


def _add(total: Tensor, part: Tensor, among: Tensor | None) -> None:
    """total [k, ...] += part [k, ...], or where it is that of some rows [k] `among` them, to those."""
    part = part.to(total.dtype)
    if among is None:
        total.add_(part)
    else:
        total.index_add_(0, among, part)


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
