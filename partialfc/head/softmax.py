"""The two passes over one rank's participating centres, in chunks.

Pass 1 sums the negatives' exponentials E = exp(logit - shift) and their pull on the embeddings; pass 2
recomputes E and yields the centres' gradient, chunk by chunk. Nothing of size [N, K] outlives a chunk.

The target is left out of E and enters in closed form, so 1 - p = S / (S + exp(target)) never cancels.
The shift is a constant. Logits lie in [-bound, bound]; for bounds up to 70 in float32 (620 in float64) every
exponential is a normal number. Above that, those more than 147 (1300) below the bound round to 0, and from
`largest_bound` on even a logit of 0 would, so such margins are refused.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from partialfc.head.margins import Margin

Index = slice | Tensor  # of local rows: a slice when all of them take part
ReadCentres = Callable[[Index], Tensor]

CHUNK_BYTES = 4 << 20  # of exponentials and centres together: about what a core's second-level cache holds
EPSILON = 1e-12  # the smallest norm to divide by, as in torch.nn.functional.normalize


def headroom(dtype: torch.dtype) -> float:
    """How far the largest exponent may lie above 0 so that a sum over 10^11 classes stays finite."""
    return 600.0 if dtype == torch.float64 else 60.0


def largest_bound(dtype: torch.dtype) -> float:
    """The largest bound on logits for which exp(0 - shift) is not rounded to 0."""
    return 1300.0 if dtype == torch.float64 else 147.0


def unit_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    """rows [n, D] -> unit rows [n, D] and their norms [n]."""
    norms = torch.linalg.vector_norm(rows, dim=1).clamp_min(EPSILON)
    return rows / norms[:, None], norms


def through_normalisation(gradient: Tensor, unit: Tensor, norms: Tensor) -> Tensor:
    """The gradient by unit rows [n, D] -> the gradient by the rows themselves [n, D]."""
    radial = (gradient * unit).sum(dim=1, keepdim=True)
    return (gradient - radial * unit) / norms[:, None]


@dataclass(frozen=True, slots=True)
class LocalBatch:
    """One rank's view of a gathered batch of N: the K rows that take part, the T targets among them."""

    unit: Tensor  # [N, D] unit embeddings
    target_cos: Tensor  # [N]
    rows: npt.NDArray[np.int64] | None  # [K] local rows, ascending; None: every row of the shard
    num_rows: int  # K
    target_columns: npt.NDArray[np.int64]  # [T] where a target lies among the K rows, ascending
    target_samples: Tensor  # [T] whose target that is

    def targets_in(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """The targets in columns start..stop-1: their samples [t] and columns [t], counted from start."""
        low, high = np.searchsorted(self.target_columns, (start, stop))
        columns = torch.from_numpy(self.target_columns[low:high] - start)
        return self.target_samples[low:high], columns.to(self.unit.device)


@dataclass(frozen=True, slots=True)
class Softmax:
    """How the passes compute: the margin, the GEMMs' dtype, and rows per chunk."""

    margin: Margin
    compute_dtype: torch.dtype
    chunk_bytes: int = CHUNK_BYTES

    def shift(self, dtype: torch.dtype) -> float:
        return self.margin.logit_bound - headroom(dtype)

    def chunk_rows(self, batch: LocalBatch) -> int:
        """Rows per chunk: [N, k] exponentials and [k, D] centres fit `chunk_bytes`."""
        samples, size = batch.unit.shape
        return max(64, self.chunk_bytes // (batch.unit.element_size() * (samples + size)))

    def negative_sums(self, batch: LocalBatch, read: ReadCentres) -> tuple[Tensor, Tensor, Tensor | None]:
        """Pass 1, over this rank's negatives of each sample.

        Returns S [N] = sum of E; A [N, D] = sum of E · dlogit/dcos · unit centre, less the factor `slope`;
        H [N] = sum of E · dlogit/dtarget_cos, None for margins that leave negatives alone.
        """
        unit = batch.unit.to(self.compute_dtype)
        sums = batch.unit.new_zeros(len(unit))
        pull = torch.zeros_like(batch.unit)
        target_pull = torch.zeros_like(sums) if self.margin.reweights_negatives else None
        for start, stop, index in _chunks(batch.rows, batch.num_rows, self.chunk_rows(batch), unit.device):
            centres = unit_rows(read(index))[0].to(self.compute_dtype)
            exponentials, weighted, by_target = self.exponentials(unit, centres, batch, start, stop)
            sums += exponentials.sum(dim=1)
            pull += weighted.to(self.compute_dtype) @ centres
            if target_pull is not None and by_target is not None:
                target_pull += by_target
        return sums, pull, target_pull

    @property
    def slope(self) -> float:
        """The constant dlogit/dcos of plain negatives; 1 where the sums hold the margin's own derivative."""
        return 1.0 if self.margin.reweights_negatives else self.margin.scale

    def exponentials(
        self, unit: Tensor, centres: Tensor, batch: LocalBatch, start: int, stop: int
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """E [N, k], the targets at 0; E · dlogit/dcos over `slope` [N, k]; E · dlogit/dtarget_cos [N]."""
        cos = (unit @ centres.T).to(batch.unit.dtype)
        shift = self.shift(cos.dtype)
        if not self.margin.reweights_negatives:
            exponentials = cos.mul_(self.margin.scale).sub_(shift).exp_()
            exponentials[batch.targets_in(start, stop)] = 0.0
            return exponentials, exponentials, None
        cos, target_cos = cos.requires_grad_(), batch.target_cos.detach().requires_grad_()
        with torch.enable_grad():
            logits = self.margin.negatives(cos, target_cos)
        exponentials = (logits.detach() - shift).exp_()
        exponentials[batch.targets_in(start, stop)] = 0.0
        weighted, by_target = torch.autograd.grad(
            logits, (cos, target_cos), exponentials, allow_unused=True, materialize_grads=True
        )
        return exponentials, weighted, by_target


class BatchGradient:
    """Pass 2 for one batch: each sample's weight on its negatives [N] and on its target's cosine [N]."""

    def __init__(
        self, softmax: Softmax, batch: LocalBatch, negative_weight: Tensor, target_weight: Tensor
    ) -> None:
        self.softmax = softmax
        self.batch = batch
        self._target_weight = target_weight
        self._unit = batch.unit.to(softmax.compute_dtype)
        self._pushed = (batch.unit * negative_weight[:, None]).to(softmax.compute_dtype)

    def by_centres(self, start: int, stop: int, centres: Tensor) -> Tensor:
        """The gradient [k, D] by the unit centres [k, D] of columns start..stop-1."""
        batch, dtype = self.batch, self.softmax.compute_dtype
        _, weighted, _ = self.softmax.exponentials(self._unit, centres.to(dtype), batch, start, stop)
        result = (weighted.to(dtype).T @ self._pushed).to(batch.unit.dtype)
        samples, columns = batch.targets_in(start, stop)
        return result.index_add_(0, columns, batch.unit[samples] * self._target_weight[samples, None])


def row_gradients(
    gradients: list[BatchGradient], read: ReadCentres
) -> Iterator[tuple[Index, Tensor, Tensor]]:
    """Pass 2 over the union of the batches' rows: yields (rows [k], centres [k, D], their gradient [k, D]).

    Each row comes once, so its centre may be overwritten before the next chunk is asked for.
    """
    first = gradients[0].batch
    rows, num_rows = _union([gradient.batch for gradient in gradients])
    step = min(gradient.softmax.chunk_rows(gradient.batch) for gradient in gradients)
    for start, stop, index in _chunks(rows, num_rows, step, first.unit.device):
        centres = read(index)
        unit, norms = unit_rows(centres)
        total = torch.zeros_like(unit)
        for gradient in gradients:
            own = gradient.batch.rows
            if own is None or num_rows == gradient.batch.num_rows:
                total += gradient.by_centres(start, stop, unit)
                continue
            chunk = np.arange(start, stop) if rows is None else rows[start:stop]
            low, high = np.searchsorted(own, (chunk[0], chunk[-1] + 1))
            places = torch.from_numpy(np.searchsorted(chunk, own[low:high])).to(unit.device)
            total.index_add_(0, places, gradient.by_centres(low, high, unit[places]))
        yield index, centres, through_normalisation(total, unit, norms)


def _chunks(
    rows: npt.NDArray[np.int64] | None, num_rows: int, step: int, device: torch.device
) -> Iterator[tuple[int, int, Index]]:
    index = None if rows is None else torch.from_numpy(rows).to(device, non_blocking=True)
    for start in range(0, num_rows, step):
        stop = min(start + step, num_rows)
        yield start, stop, slice(start, stop) if index is None else index[start:stop]


def _union(batches: list[LocalBatch]) -> tuple[npt.NDArray[np.int64] | None, int]:
    rows, num_rows = batches[0].rows, batches[0].num_rows
    for batch in batches[1:]:
        if rows is None or batch.rows is None:
            return None, max(num_rows, batch.num_rows)
        rows = np.union1d(rows, batch.rows)
        num_rows = len(rows)
    return rows, num_rows
