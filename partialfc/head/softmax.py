"""Pass 1 over one rank's participating centres, in chunks.

It sums the negatives' exponentials E = exp(logit - shift) and their pull on the embeddings. It keeps as many
of the exponentials for pass 2 (head/gradient.py) as the budget of head/kernels/chunks.py allows. A chunk's
cosines are [k·S, N], a line for each centre: centres and their gradients are rows too, and GEMMs are fastest
so.

The target is left out of E and enters in closed form, see head/loss.py, and for bounded logits the shift is a
constant. For others each sample has a shift of its own, which begins with its target's logit, rises where a
chunk has a logit far above it, and is then the same on all ranks: the online softmax of Milakov and
Gimelshein 2018 (arXiv:1805.02867), which rises only where it must.
"""

import math
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor

from partialfc.distributed.accelerator import has_operator, is_accelerator
from partialfc.head import exponentials as kernels
from partialfc.head.batch import LocalBatch
from partialfc.head.kernels.buffers import Pool
from partialfc.head.kernels.chunks import chunk_rows, kept_rows, limits_of
from partialfc.head.loss import Targets, headroom
from partialfc.head.margins.base import Margin
from partialfc.head.margins.samples import Samples
from partialfc.head.pass_one import ByTarget, Kept, PassOne, Rise
from partialfc.head.rows import Rows


@dataclass(frozen=True, slots=True)
class Softmax:
    """How the passes compute: the margin, the GEMMs' dtype, compiled or not, and from which buffers.

    fused: whether the parts on single samples are compiled too, see head/kernels/per_sample.py; above:
    negatives of a larger cosine take no part, None: all do; settled: whether the margin is that of the last
    step, so that it is worth compiling.
    """

    margin: Margin
    compute_dtype: torch.dtype
    compiled: bool
    fused: bool
    pool: Pool
    above: float | None = None
    settled: bool = True

    def first_shift(self, batch: LocalBatch, targets: Targets) -> float | Tensor:
        """What is subtracted from every logit before exp, or where logits have no bound, at first [N]."""
        room, bound = headroom(targets.logit.dtype), self.margin.logit_bound + batch.offset_bound
        return targets.logit - 0.5 * room if math.isinf(bound) else bound - room

    def scale(self, samples: Samples) -> float | Tensor:
        """What plain products are multiplied by: one number, or one for each sample [N]."""
        scale = self.margin.scale
        return scale if self.margin.normalises_embeddings else samples.norm * scale

    def slope(self, samples: Samples) -> float | Tensor:
        """dlogit/dproduct of plain negatives, one number or [N]; 1 where the margin re-weights them."""
        return 1.0 if self.margin.reweights_negatives else self.scale(samples)

    def chunk_rows(self, batch: LocalBatch, num_rows: int) -> int:
        """How many of num_rows rows a chunk has."""
        samples, size = (each * batch.per_class for each in batch.unit.shape)
        itemsize = self.compute_dtype.itemsize
        limits = limits_of(batch.unit.device)
        return chunk_rows(num_rows, samples=samples, size=size, itemsize=itemsize, limits=limits)

    def negative_sums(
        self, batch: LocalBatch, rows: Rows, targets: Targets, *, keep: bool, taken: int
    ) -> PassOne:
        """Pass 1. keep: whether pass 2 will follow; taken: the bytes of exponentials that wait already."""
        (samples, size), device, each = batch.unit.shape, batch.unit.device, batch.per_class
        per_chunk = self.chunk_rows(batch, batch.num_rows)
        kept_count = 0
        if keep:
            kept_count = kept_rows(
                batch.num_rows,
                per_chunk,
                samples=samples * each,
                size=size,
                itemsize=self.compute_dtype.itemsize,
                centre_bytes=rows.weight.values.nbytes,
                taken=taken,
            )
        kept = Kept(self.pool.lend((kept_count * each, samples), self.compute_dtype, device))
        unit_t = transposed(batch.unit, self.compute_dtype)
        columns = torch.arange(batch.num_rows, dtype=torch.int32, device=device)
        sums = _Sums(self, batch, self.first_shift(batch, targets), -(-batch.num_rows // per_chunk))
        spare_rows = per_chunk * each if kept_count < batch.num_rows else 0
        with ExitStack() as loans:
            centres_buffer, spare = (
                loans.enter_context(self.pool.lend(shape, self.compute_dtype, device))
                for shape in ((per_chunk * each, size), (spare_rows, samples))
            )
            for number, chunk in enumerate(rows.chunks(per_chunk)):
                lines = batch.lines(chunk.start, chunk.stop)
                centres = chunk.used_centres(centres_buffer, compiled=self.compiled)
                is_kept = chunk.stop <= kept_count
                values = kept.values[lines] if is_kept else spare[: len(centres)]
                cosines(centres, unit_t, out=values)
                sums.add(number, values, chunk.start, columns[chunk.start : chunk.stop])
                sums.note(lines if is_kept else None)
                add_pull(sums.pull, values, centres)
        return sums.passed(kept)

    def exponentials(
        self,
        values: Tensor,
        batch: LocalBatch,
        start: int,
        columns: Tensor,
        shift: float | Tensor,
        *,
        sums: Tensor | None = None,
    ) -> ByTarget | None:
        """The products in values [k·S, N] become E · dlogit/dproduct / slope, and 0 for targets.

        columns: int32 [k], which of the K classes these are, from `start` on. Writes the sum of E to `sums`
        [N]. Returns None for plain negatives.
        """
        samples, dtype = batch.samples, batch.unit.dtype
        given = (batch.target_column, columns)
        rest = (shift, batch.offsets_of(start, len(columns)), self.above, batch.per_class, dtype)
        if self.margin.reweights_negatives:
            seen = (samples.cos, samples.norm, samples.class_margin, samples.prepared, samples.step)
            of_chunk, by_cos, by_prepared = kernels.reweighted(
                *(values, *given, self.margin, *seen, *rest), compiled=self.compiled and self.settled
            )
            if sums is not None:
                sums.copy_(of_chunk)
            return ByTarget(by_cos, by_prepared)
        kernels.exponentials(values, *given, self.scale(samples), *rest, compiled=self.compiled)
        if sums is not None:
            # The sum of what is rounded for pass 2, so that a sample's probabilities sum to 1.
            torch.sum(values, dim=0, dtype=dtype, out=sums)
        return None

    def rising(self, values: Tensor, batch: LocalBatch, start: int, columns: Tensor, shift: Tensor) -> Tensor:
        """As `exponentials`, for logits without a bound -> the shift [N] that was taken, from `shift` on."""
        dtype = batch.unit.dtype
        offsets = batch.offsets_of(start, len(columns))
        rest = (shift, offsets, self.above, batch.per_class, headroom(dtype), dtype)
        scale = self.scale(batch.samples)
        return kernels.rising(values, batch.target_column, columns, scale, *rest, compiled=self.compiled)


class _Sums:
    """What pass 1 adds up, chunk by chunk."""

    def __init__(self, softmax: Softmax, batch: LocalBatch, shift: float | Tensor, chunks: int) -> None:
        self._softmax, self._batch = softmax, batch
        self._shift = shift
        self._rises: list[Rise] = []
        self._by_chunk = batch.unit.new_zeros(max(1, chunks), len(batch.unit))
        self._by_target: ByTarget | None = None
        if softmax.margin.reweights_negatives:
            prepared = batch.samples.prepared
            nothing = None if prepared is None else torch.zeros_like(prepared)
            self._by_target = ByTarget(torch.zeros_like(batch.samples.cos), nothing)
        self.pull = torch.zeros_like(batch.unit)  # [N, D]

    def add(self, number: int, values: Tensor, start: int, columns: Tensor) -> None:
        """The chunk `number`, whose products in values [k·S, N] become E · dlogit/dproduct / slope."""
        sums = self._by_chunk[number]
        if not isinstance(self._shift, Tensor):
            given = (values, self._batch, start, columns, self._shift)
            of_chunk = self._softmax.exponentials(*given, sums=sums)
            if self._by_target is not None:
                self._by_target = self._by_target.added(of_chunk)
            return
        risen = self._softmax.rising(values, self._batch, start, columns, self._shift)
        factor = torch.exp(self._shift - risen)
        self.pull.mul_(factor[:, None])
        self._by_chunk.mul_(factor)
        self._shift = risen
        torch.sum(values, dim=0, dtype=sums.dtype, out=sums)

    def note(self, lines: slice | None) -> None:
        """The lines of the chunk added last, if its exponentials are kept: what they had subtracted."""
        if lines is not None and isinstance(self._shift, Tensor):
            self._rises.append(Rise(lines, self._shift))

    def passed(self, kept: Kept) -> PassOne:
        """The sums of all chunks."""
        sums = self._by_chunk.sum(dim=0)
        return PassOne(sums, self.pull, self._by_target, kept, self._shift, tuple(self._rises))


def transposed(unit: Tensor, dtype: torch.dtype) -> Tensor:
    """unit [N, D] -> [D, N] in dtype, as the products want it: for a CPU's, in that order in memory."""
    turned = unit.to(dtype).T
    return turned if is_accelerator(unit.device) else turned.contiguous()


def cosines(centres: Tensor, unit_t: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Unit centres [k, D] and transposed unit embeddings [D, N] -> cosines [k, N], in `out` if given."""
    return torch.mm(centres, unit_t, out=out)


def add_pull(total: Tensor, weighted: Tensor, centres: Tensor) -> None:
    """total [N, D] += weighted [k, N]^T @ centres [k, D]; chunks are added up in total's dtype.

    A product in bfloat16 sums in float32 inside. CPUs' GEMMs write their inputs' dtype alone, so there each
    chunk's result is rounded to bfloat16 once before it is added.
    """
    if total.dtype == weighted.dtype:
        total.addmm_(weighted.T, centres)
    elif has_operator("aten::mm.dtype", total.device):
        total += torch.mm(weighted.T, centres, out_dtype=total.dtype)
    else:
        total += weighted.T @ centres
