"""Pass 1 over one rank's participating centres, in chunks.

It sums the negatives' exponentials E = exp(logit - shift) and their pull on the embeddings. It keeps as many
of the exponentials for pass 2 (head/gradient.py) as the budget of head/kernels/chunks.py allows. A chunk's
cosines are [k, N], a row for each class: centres and their gradients are rows too, and GEMMs are fastest so.

The target is left out of E and enters in closed form, and the shift is a constant: see head/loss.py.
"""

from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
from torch import Tensor

from partialfc.head.batch import LocalBatch
from partialfc.head.kernels import elementwise
from partialfc.head.kernels.buffers import Loan, Pool
from partialfc.head.kernels.chunks import chunk_rows, kept_rows, last_level_cache
from partialfc.head.loss import headroom
from partialfc.head.margin_rules import shaped
from partialfc.head.margins.base import Margin
from partialfc.head.rows import Rows


@dataclass(slots=True)
class Kept:
    """The exponentials that wait for pass 2: E · dlogit/dcos / slope of the first R columns, [R, N].

    Whoever holds the loss holds this too, so it is emptied as soon as pass 2 is done. A second backward
    through a retained graph then computes them again.
    """

    loan: Loan
    values: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.values = self.loan.tensor

    def release(self) -> None:
        self.values = self.values.new_empty(0, self.values.shape[1])
        self.loan.end()


@dataclass(frozen=True, slots=True)
class PassOne:
    """What pass 1 leaves, over this rank's negatives of each sample."""

    sums: Tensor  # [N] sum of E
    pull: Tensor  # [N, D] sum of E · dlogit/dcos / slope · unit centre
    by_target: Tensor | None  # [N] sum of E · dlogit/dtarget_cos; None for plain negatives
    kept: Kept


@dataclass(frozen=True, slots=True)
class Softmax:
    """How the passes compute: the margin, the GEMMs' dtype, compiled or not, and from which buffers."""

    margin: Margin
    compute_dtype: torch.dtype
    compiled: bool
    pool: Pool

    def shift(self, dtype: torch.dtype) -> float:
        """What is subtracted from every logit before exp, for sums in dtype."""
        return self.margin.logit_bound - headroom(dtype)

    @property
    def slope(self) -> float:
        """The constant dlogit/dcos of plain negatives; 1 where the margin re-weights them."""
        return 1.0 if self.margin.reweights_negatives else self.margin.scale

    def chunk_rows(self, batch: LocalBatch, num_rows: int) -> int:
        """How many of num_rows rows a chunk has."""
        samples, size = batch.unit.shape
        itemsize = self.compute_dtype.itemsize
        cache = last_level_cache(batch.unit.device)
        return chunk_rows(num_rows, samples=samples, size=size, itemsize=itemsize, cache=cache)

    def negative_sums(self, batch: LocalBatch, rows: Rows, *, keep: bool, taken: int) -> PassOne:
        """Pass 1. keep: whether pass 2 will follow; taken: the bytes of exponentials that wait already."""
        (samples, size), device = batch.unit.shape, batch.unit.device
        per_chunk = self.chunk_rows(batch, batch.num_rows)
        kept_count = 0
        if keep:
            kept_count = kept_rows(
                batch.num_rows,
                per_chunk,
                samples=samples,
                size=size,
                itemsize=self.compute_dtype.itemsize,
                centre_bytes=rows.weight.values.nbytes,
                taken=taken,
            )
        kept = Kept(self.pool.lend((kept_count, samples), self.compute_dtype, device))
        unit_t = batch.unit.to(self.compute_dtype).T.contiguous()
        sums = batch.unit.new_zeros(samples)
        pull = torch.zeros_like(batch.unit)
        by_target = torch.zeros_like(sums) if self.margin.reweights_negatives else None
        spare_rows = per_chunk if kept_count < batch.num_rows else 0
        with ExitStack() as loans:
            centres_buffer, cos_buffer, spare = (
                loans.enter_context(self.pool.lend(shape, self.compute_dtype, device))
                for shape in ((per_chunk, size), (per_chunk, samples), (spare_rows, samples))
            )
            for chunk in rows.chunks(per_chunk):
                start, stop = chunk.start, chunk.stop
                centres = chunk.unit_centres(centres_buffer, compiled=self.compiled)
                cos = cosines(centres, unit_t, out=cos_buffer[: len(centres)])
                weighted = kept.values[start:stop] if stop <= kept_count else spare[: len(centres)]
                of_chunk = self.exponentials(cos, batch, start, out=weighted, sums=sums)
                add_pull(pull, weighted, centres)
                if by_target is not None and of_chunk is not None:
                    by_target += of_chunk
        return PassOne(sums, pull, by_target, kept)

    def exponentials(
        self, cos: Tensor, batch: LocalBatch, start: int, *, out: Tensor, sums: Tensor | None = None
    ) -> Tensor | None:
        """cos [k, N] of columns start.. -> out [k, N] = E · dlogit/dcos / slope, and 0 for targets.

        Adds the sum of E to `sums` [N]. Returns the sum of E · dlogit/dtarget_cos [N], or None if it is 0.
        """
        dtype = batch.unit.dtype
        target_column = batch.target_column - start
        if not self.margin.reweights_negatives:
            elementwise.exponentials(
                cos, target_column, self.margin.scale, self.shift(dtype), dtype, out, compiled=self.compiled
            )
            if sums is not None:
                # The sum of `out`, rounded as it is for pass 2, so that a sample's probabilities sum to 1.
                sums += out.sum(dim=0, dtype=dtype)
            return None
        cos, target_cos = cos.T.to(dtype).requires_grad_(), batch.target_cos.detach().requires_grad_()
        with torch.enable_grad():
            logits = shaped(self.margin.negatives(cos, target_cos), cos, self.margin, "negatives")
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
    elif total.is_cuda:
        total += torch.mm(weighted.T, centres, out_dtype=total.dtype)
    else:
        total += weighted.T @ centres
