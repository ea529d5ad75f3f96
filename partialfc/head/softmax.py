"""Pass 1 over one rank's participating centres, in chunks.

It sums the negatives' exponentials E = exp(logit - shift) and their pull on the embeddings. It keeps as many
of the exponentials for pass 2 (head/gradient.py) as the budget of head/kernels/chunks.py allows. A chunk's
cosines are [k, N], a row for each class: centres and their gradients are rows too, and GEMMs are fastest so.

The target is left out of E and enters in closed form, and the shift is a constant: see head/loss.py.
"""

from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from partialfc.distributed.accelerator import has_operator, is_accelerator
from partialfc.head.batch import LocalBatch
from partialfc.head.kernels import elementwise
from partialfc.head.kernels.buffers import Loan, Pool
from partialfc.head.kernels.chunks import chunk_rows, kept_rows, limits_of
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
    """How the passes compute: the margin, the GEMMs' dtype, compiled or not, and from which buffers.

    fused: whether the parts on single samples are compiled too, see head/kernels/per_sample.py.
    """

    margin: Margin
    compute_dtype: torch.dtype
    compiled: bool
    fused: bool
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
        limits = limits_of(batch.unit.device)
        return chunk_rows(num_rows, samples=samples, size=size, itemsize=itemsize, limits=limits)

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
        unit_t = transposed(batch.unit, self.compute_dtype)
        columns = torch.arange(batch.num_rows, dtype=torch.int32, device=device)
        sums = batch.unit.new_zeros(max(1, -(-batch.num_rows // per_chunk)), samples)
        pull = torch.zeros_like(batch.unit)
        by_target = torch.zeros_like(batch.samples.cos) if self.margin.reweights_negatives else None
        spare_rows = per_chunk if kept_count < batch.num_rows else 0
        with ExitStack() as loans:
            centres_buffer, spare = (
                loans.enter_context(self.pool.lend(shape, self.compute_dtype, device))
                for shape in ((per_chunk, size), (spare_rows, samples))
            )
            for number, chunk in enumerate(rows.chunks(per_chunk)):
                own = slice(chunk.start, chunk.stop)
                centres = chunk.unit_centres(centres_buffer, compiled=self.compiled)
                values = kept.values[own] if chunk.stop <= kept_count else spare[: len(centres)]
                cosines(centres, unit_t, out=values)
                of_chunk = self.exponentials(values, batch, chunk.start, columns[own], sums=sums[number])
                add_pull(pull, values, centres)
                if by_target is not None and of_chunk is not None:
                    by_target += of_chunk
        return PassOne(sums.sum(dim=0), pull, by_target, kept)

    def exponentials(
        self, values: Tensor, batch: LocalBatch, start: int, columns: Tensor, *, sums: Tensor | None = None
    ) -> Tensor | None:
        """The cosines in values [k, N] become E · dlogit/dcos / slope, and 0 for targets.

        columns: int32 [k], start and those after it. Writes the sum of E to `sums` [N]. Returns the sum of
        E · dlogit/dtarget_cos [N], or None if it is 0.
        """
        dtype = batch.unit.dtype
        shift = self.shift(dtype)
        if not self.margin.reweights_negatives:
            elementwise.exponentials(
                values, batch.target_column, columns, self.margin.scale, shift, dtype, compiled=self.compiled
            )
            if sums is not None:
                # The sum of what is rounded for pass 2, so that a sample's probabilities sum to 1.
                torch.sum(values, dim=0, dtype=dtype, out=sums)
            return None
        cos, target_cos = values.to(dtype).requires_grad_(), batch.samples.cos.detach().requires_grad_()
        with torch.enable_grad():
            samples = replace(batch.samples, cos=target_cos)
            logits = shaped(self.margin.negatives(cos, samples), cos, self.margin, "negatives")
        exponentials = torch.where(
            batch.target_column == columns[:, None], 0.0, (logits.detach() - shift).exp_()
        )
        weighted, by_target = torch.autograd.grad(
            logits, (cos, target_cos), exponentials, allow_unused=True, materialize_grads=True
        )
        if sums is not None:
            torch.sum(exponentials, dim=0, out=sums)
        values.copy_(weighted)
        return by_target


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
