"""The two passes over one rank's participating centres, in chunks.

Pass 1 sums the negatives' exponentials E = exp(logit - shift) and their pull on the embeddings; pass 2 yields
the centres' gradient, chunk by chunk, from the exponentials that pass 1 kept, or recomputes them where the
budget did not reach. Chunks are class-major, [k, N]: centres come as rows and gradients leave as rows, and
the GEMMs run fastest that way.

The target is left out of E and enters in closed form, and the shift is a constant: see head/loss.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from partialfc.head.kernels import elementwise
from partialfc.head.kernels.buffers import Pool, on_device
from partialfc.head.kernels.chunks import chunk_rows, kept_rows, last_level_cache
from partialfc.head.loss import headroom
from partialfc.head.margins.base import Margin
from partialfc.head.rows import Chunk, Rows


@dataclass(frozen=True, slots=True)
class LocalBatch:
    """One rank's view of a gathered batch of N: the K rows that take part, the T targets among them."""

    unit: Tensor  # [N, D] unit embeddings
    target_cos: Tensor  # [N]
    rows: npt.NDArray[np.int64] | None  # [K] local rows, ascending; None: every row of the shard
    num_rows: int  # K
    target_columns: npt.NDArray[np.int64]  # [T] where a target lies among the K rows, ascending
    target_samples: Tensor  # [T] whose target that is
    target_column: Tensor  # [N] int32, the same by sample; -1 where the target lies on another rank

    def targets_in(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """The targets in columns start..stop-1: columns [t], counted from start, and their samples [t]."""
        low, high = np.searchsorted(self.target_columns, (start, stop))
        samples = self.target_samples[low:high]
        return self.target_column[samples].long() - start, samples


@dataclass(slots=True)
class Kept:
    """The exponentials that wait for pass 2: [R, N] of the first R columns, times dlogit/dcos.

    Whoever holds the loss holds this too, so it is emptied once pass 2 is done. A second backward through a
    retained graph then computes them again.
    """

    values: Tensor

    def release(self) -> None:
        self.values = self.values.new_empty(0, self.values.shape[1])


@dataclass(frozen=True, slots=True)
class PassOne:
    """What pass 1 leaves, over this rank's negatives of each sample."""

    sums: Tensor  # [N] sum of E
    pull: Tensor  # [N, D] sum of E · dlogit/dcos · unit centre, less the factor `Softmax.slope`
    target_pull: Tensor | None  # [N] sum of E · dlogit/dtarget_cos; None where negatives are left alone
    kept: Kept


@dataclass(frozen=True, slots=True)
class Softmax:
    """How the passes compute: the margin, the GEMMs' dtype, compiled or not, and from which buffers."""

    margin: Margin
    compute_dtype: torch.dtype
    compiled: bool
    pool: Pool

    def shift(self, dtype: torch.dtype) -> float:
        return self.margin.logit_bound - headroom(dtype)

    @property
    def slope(self) -> float:
        """The constant dlogit/dcos of plain negatives; 1 where the sums hold the margin's own derivative."""
        return 1.0 if self.margin.reweights_negatives else self.margin.scale

    def chunk_rows(self, batch: LocalBatch, num_rows: int) -> int:
        samples, size = batch.unit.shape
        itemsize = self.compute_dtype.itemsize
        cache = last_level_cache(batch.unit.device)
        return chunk_rows(num_rows, samples=samples, size=size, itemsize=itemsize, cache=cache)

    def negative_sums(self, batch: LocalBatch, rows: Rows, *, keep: bool, taken: int) -> PassOne:
        """Pass 1. keep: whether pass 2 will follow; taken: the bytes that earlier batches keep already."""
        (samples, size), device = batch.unit.shape, batch.unit.device
        step = self.chunk_rows(batch, batch.num_rows)
        kept_count = 0
        if keep:
            kept_count = kept_rows(
                batch.num_rows,
                step,
                samples=samples,
                size=size,
                itemsize=self.compute_dtype.itemsize,
                centre_bytes=rows.weight.values.nbytes,
                taken=taken,
            )
        kept = self.pool.take((kept_count, samples), self.compute_dtype, device)
        unit_t = batch.unit.to(self.compute_dtype).T.contiguous()
        centres_buffer = self.pool.take((step, size), self.compute_dtype, device)
        cos_buffer = self.pool.take((step, samples), self.compute_dtype, device)
        spare = (
            self.pool.take((step, samples), self.compute_dtype, device)
            if kept_count < batch.num_rows
            else kept
        )
        sums = batch.unit.new_zeros(samples)
        pull = torch.zeros_like(batch.unit)
        target_pull = torch.zeros_like(sums) if self.margin.reweights_negatives else None
        for chunk in rows.chunks(step):
            start, stop = chunk.start, chunk.stop
            centres = chunk.unit_centres(centres_buffer, compiled=self.compiled)
            cos = cosines(centres, unit_t, out=cos_buffer[: len(centres)])
            weighted = kept[start:stop] if stop <= kept_count else spare[: len(centres)]
            by_target = self.exponentials(cos, batch, start, out=weighted, sums=sums)
            add_pull(pull, weighted, centres)
            if target_pull is not None and by_target is not None:
                target_pull += by_target
        return PassOne(sums, pull, target_pull, Kept(kept))

    def exponentials(
        self, cos: Tensor, batch: LocalBatch, start: int, *, out: Tensor, sums: Tensor | None = None
    ) -> Tensor | None:
        """cos [k, N] of columns start.. -> out [k, N] = E · dlogit/dcos over `slope`, the targets at 0.

        Adds the sum of E to `sums` [N]. Returns the sum of E · dlogit/dtarget_cos [N] where there is one.
        """
        dtype = batch.unit.dtype
        target_column = batch.target_column - start
        if not self.margin.reweights_negatives:
            elementwise.exponentials(
                cos, target_column, self.margin.scale, self.shift(dtype), dtype, out, compiled=self.compiled
            )
            if sums is not None:
                # Of what pass 2 will use, so that the probabilities of a sample sum to 1 in any dtype.
                sums += out.sum(dim=0, dtype=dtype)
            return None
        cos, target_cos = cos.T.to(dtype).requires_grad_(), batch.target_cos.detach().requires_grad_()
        with torch.enable_grad():
            logits = self.margin.negatives(cos, target_cos)
        values = (logits.detach() - self.shift(dtype)).exp_()
        columns, samples = batch.targets_in(start, start + len(out))
        values[samples, columns] = 0.0
        weighted, by_target = torch.autograd.grad(
            logits, (cos, target_cos), values, allow_unused=True, materialize_grads=True
        )
        if sums is not None:
            sums += values.sum(dim=1)
        out.copy_(weighted.T)
        return by_target


class BatchGradient:
    """Pass 2 for one batch: each sample's weight on its negatives [N] and on its target's cosine [N].

    A target enters the GEMM as an exponential of its own would: as its weight over the negatives' weight.
    """

    def __init__(
        self,
        softmax: Softmax,
        batch: LocalBatch,
        kept: Kept,
        negative_weight: Tensor,
        target_weight: Tensor,
        scale: Tensor,
    ) -> None:
        self.softmax = softmax
        self.batch = batch
        self.kept = kept
        dtype = softmax.compute_dtype
        limit = torch.finfo(torch.float32 if dtype == torch.bfloat16 else dtype).max
        self._target_share = (target_weight / negative_weight).clamp_(-limit, limit).to(dtype)
        self._unit_t: Tensor | None = None
        self._pushed = (batch.unit * (negative_weight * scale)[:, None]).to(dtype)
        self._put_targets(kept.values, 0)
        self._ready = torch.cuda.current_stream().record_event() if batch.unit.is_cuda else None

    def hand_to(self, stream: torch.cuda.Stream) -> None:
        """Let a stream wait until pass 2 can be computed, and keep its memory until the stream is done."""
        if self._ready is not None:
            stream.wait_event(self._ready)
        batch = self.batch
        for tensor in (self.kept.values, self._pushed, self._target_share, batch.unit, batch.target_cos):
            tensor.record_stream(stream)
        for tensor in (batch.target_samples, batch.target_column):
            tensor.record_stream(stream)

    def keeps(self, stop: int) -> bool:
        """Whether the exponentials of columns up to `stop` need not be computed again."""
        return stop <= len(self.kept.values)

    def by_centres(self, start: int, stop: int, centres: Tensor | None, *, out: Tensor) -> Tensor:
        """out [k, D]: the gradient by the unit centres [k, D] of columns start..stop-1.

        centres are those unit centres in the GEMMs' dtype; None will do where `keeps(stop)`.
        """
        return torch.mm(self._weights(start, stop, centres), self._pushed, out=out)

    def _weights(self, start: int, stop: int, centres: Tensor | None) -> Tensor:
        if self.keeps(stop):
            return self.kept.values[start:stop]
        assert centres is not None
        if self._unit_t is None:
            self._unit_t = self.batch.unit.to(centres.dtype).T.contiguous()
        values = cosines(centres, self._unit_t)
        self.softmax.exponentials(values, self.batch, start, out=values)
        self._put_targets(values, start)
        return values

    def _put_targets(self, values: Tensor, start: int) -> None:
        columns, samples = self.batch.targets_in(start, start + len(values))
        values[columns, samples] = self._target_share[samples]


def row_gradients(gradients: list[BatchGradient], rows: Rows) -> Iterator[tuple[Chunk, Tensor]]:
    """Pass 2 over the union of the batches' rows: yields (rows, gradient by their unit centres [k, D]).

    Each row comes once, so its centre may be overwritten before the next chunk is asked for. The gradient's
    memory is used again for the next chunk.
    """
    softmax, batch = gradients[0].softmax, gradients[0].batch
    step = min(each.softmax.chunk_rows(each.batch, rows.count) for each in gradients)
    shape, dtype, device = (step, batch.unit.shape[1]), softmax.compute_dtype, batch.unit.device
    gradient_buffer = softmax.pool.take(shape, dtype, device)
    centres_buffer = None
    for chunk in rows.chunks(step):
        places = [_place(each.batch, chunk, rows.count) for each in gradients]
        centres = None
        if not all(each.keeps(place.stop) for each, place in zip(gradients, places, strict=True)):
            if centres_buffer is None:
                centres_buffer = softmax.pool.take(shape, dtype, device)
            centres = chunk.unit_centres(centres_buffer, compiled=softmax.compiled)
        total = gradient_buffer[: chunk.stop - chunk.start]
        if len(gradients) == 1:
            yield chunk, gradients[0].by_centres(chunk.start, chunk.stop, centres, out=total)
            continue
        total = torch.zeros_like(total, dtype=batch.unit.dtype)
        for each, place in zip(gradients, places, strict=True):
            among = None if place.among is None else on_device(torch.from_numpy(place.among), device)
            own = centres if centres is None or among is None else centres[among]
            part = each.by_centres(
                place.start, place.stop, own, out=gradient_buffer[: place.stop - place.start]
            ).to(total.dtype)
            total = total.add_(part) if among is None else total.index_add_(0, among, part)
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
class _Place:
    """Which of a batch's columns lie in a chunk, and where among its rows (None: all of them, in order)."""

    start: int
    stop: int
    among: npt.NDArray[np.int64] | None


def _place(batch: LocalBatch, chunk: Chunk, num_rows: int) -> _Place:
    if batch.rows is None or batch.num_rows == num_rows:
        return _Place(chunk.start, chunk.stop, None)
    chunk_rows = chunk.host_rows()
    low, high = np.searchsorted(batch.rows, (chunk_rows[0], chunk_rows[-1] + 1)).tolist()
    return _Place(low, high, np.searchsorted(chunk_rows, batch.rows[low:high]))


def cosines(centres: Tensor, unit_t: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Unit centres [k, D] and turned unit embeddings [D, N] -> cosines [k, N], in `out` if given."""
    return torch.mm(centres, unit_t, out=out)


def add_pull(total: Tensor, weighted: Tensor, centres: Tensor) -> None:
    """total [N, D] += weighted [k, N]^T @ centres [k, D], summed in total's dtype."""
    if total.dtype == weighted.dtype:
        total.addmm_(weighted.T, centres)
    else:
        total += weighted.T @ centres
