"""A batch's loss over sharded, sampled centres: what lasts from batch to batch, and what a batch computes."""

import copy

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from partialfc.distributed.accelerator import is_accelerator, on_device
from partialfc.head import sampling
from partialfc.head.agreement import agree_on_batch
from partialfc.head.centres import ShardedCentres
from partialfc.head.kernels.buffers import Pool
from partialfc.head.margins.base import Margin
from partialfc.head.softmax import Softmax
from partialfc.head.step import LossGradient, forward, gather, local_batch, participating_rows
from partialfc.head.targets import targets_here, targets_of_shard

# Forwards of a margin before it is compiled, where it has followed another one: it may be one of a ramp, each
# of whose numbers would need code of its own.
SETTLED_AFTER = 64


class SampledSoftmax(ShardedCentres):
    """The centres, the margin and the settings of a step, and what is known of the last one.

    PartialFC, which sets and documents them all, is the only one of its kind.
    """

    margin: Margin
    sample_rate: float
    compute_dtype: torch.dtype
    gather_dtype: torch.dtype | None
    interclass_filter: float | None
    logit_correction: bool
    class_weights: Tensor | None
    class_margins: Tensor | None
    compiled: bool
    pool: Pool
    step: int
    _digest: int
    _forwards_of_margin: int
    last_target_cos: Tensor
    last_norm: Tensor
    _last_rows: npt.NDArray[np.int64] | None
    _last_targets: npt.NDArray[np.int64]

    @property
    def fused(self) -> bool:
        """Whether the parts of a step on single samples are compiled too: on an accelerator."""
        return self.compiled and is_accelerator(self.weight.device)

    @property
    def last_sample(self) -> Tensor:
        """[K], the local rows that took part in the last forward, ascending."""
        rows = np.arange(len(self.shard)) if self._last_rows is None else self._last_rows
        return torch.from_numpy(rows)

    @property
    def last_rows(self) -> npt.NDArray[np.int64] | None:
        """`last_sample` on the host as it is kept: None where all rows took part."""
        return self._last_rows

    @property
    def last_counts(self) -> tuple[int, int]:
        """How many of this rank's centres took part in the last forward, as positives and as negatives."""
        targets = self._last_targets  # ascending
        positives = min(len(targets), 1) + int(np.count_nonzero(np.diff(targets)))
        return positives, (len(self.shard) if self._last_rows is None else len(self._last_rows)) - positives

    def _compute(
        self, embeddings: Tensor, labels: Tensor, weights: Tensor | None, wants_gradient: bool
    ) -> tuple[Tensor, LossGradient | None]:
        """A batch's loss and, if wanted, its gradient; keeps what lasts until the next batch."""
        world, shard = self.world, self.shard
        agreed = agree_on_batch(
            world,
            embeddings,
            labels,
            weights,
            embedding_size=self.embedding_size,
            num_classes=shard.num_classes,
            device=self.weight.device,
            mode=(self.training << 1) | wants_gradient,
            head_digest=self._digest,
        )
        gathered = gather(
            world,
            embeddings,
            agreed,
            gather_dtype=self.gather_dtype,
            math_dtype=self.math_dtype,
            fused=self.fused,
        )
        samples, target_rows = targets_here(shard, gathered.labels)
        rows = self.rows(self._participating_rows(gathered.labels))
        targets = targets_of_shard(
            gathered.unit,
            samples,
            self.rows(target_rows),
            class_weights=self.class_weights,
            class_margins=self.class_margins,
            fused=self.fused,
        )
        corrections, most = self._corrections(gathered.labels, rows.rows)
        batch = local_batch(
            world,
            gathered,
            targets,
            rows,
            corrections=corrections,
            offset_bound=most,
            seed=self.seed,
            step=self.step,
        )
        self._last_rows, self._last_targets = rows.rows, batch.target_columns
        self.last_target_cos, self.last_norm = batch.samples.cos, gathered.norm
        if self.training:
            self.margin.update(batch.samples)
            self.step += 1
            self._forwards_of_margin += 1
        return forward(
            world,
            Softmax(
                *(self._margin_now(), self.compute_dtype, self.compiled, self.fused, self.pool),
                above=self.interclass_filter if self.training else None,
                settled=self._forwards_of_margin > SETTLED_AFTER,
            ),
            gathered,
            batch,
            targets.centres,
            rows,
            taken=self.kept_bytes(),
            wants_gradient=wants_gradient,
        )

    def _participating_rows(self, labels: sampling.Indices) -> sampling.Indices | None:
        """The global batch's labels [N] -> the local rows [K] that take part; None: all, as in eval mode."""
        if not self.training:
            return None
        return participating_rows(
            self.shard, labels, sample_rate=self.sample_rate, seed=self.seed, step=self.step
        )

    def _corrections(
        self, labels: sampling.Indices, rows: sampling.Indices | None
    ) -> tuple[Tensor | None, float]:
        """What is added to the logits of the local rows [K] that take part, and what none of it exceeds."""
        if rows is None or not self.logit_correction:
            return None, 0.0
        num_classes = self.shard.num_classes
        size = sampling.sample_size(num_classes, self.sample_rate)
        found = sampling.corrections(self.shard, labels, rows, size, seed=self.seed, step=self.step)
        corrections = on_device(torch.from_numpy(found).to(self.math_dtype), self.weight.device)
        return corrections, sampling.largest_correction(num_classes, size)

    def _margin_now(self) -> Margin:
        """The margin with its state as it is: pass 2 of this batch may come after another batch moves it."""
        return copy.deepcopy(self.margin) if any(True for _ in self.margin.buffers()) else self.margin
