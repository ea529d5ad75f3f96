"""What the losses beside the head share: the batch of all ranks, the global mean, and its exact gradient."""

import functools
from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from partialfc.distributed.accelerator import on_device
from partialfc.head.agreement import LOSS, Agreed, agree_on_batch
from partialfc.head.attached import loss_of_rows
from partialfc.head.kernels.compiled import outside_graphs
from partialfc.losses.of_ranks import LossOfRanks, of_all_samples, valid_rows


@dataclass(frozen=True, slots=True)
class Batch:
    """The N valid samples of all ranks, rank 0's first, and which of them are this rank's."""

    embeddings: Tensor  # [N, D] in the dtype of the loss's arithmetic; with gradient where one is wanted
    classes: npt.NDArray[np.int64]  # [N] class ids
    labels: Tensor  # [N] the same on the device
    own: slice  # which of the N are this rank's


class BatchLoss(LossOfRanks):
    """A loss over the global batch: a mean of terms that each rank has its own part of.

    `loss(embeddings [B, D], labels [B])` is the same number on every rank. Backward gives each rank the
    gradient of its own embeddings, times the world size, so that the averaging of DistributedDataParallel
    makes the backbone's gradients those of one process on the whole batch. It computes in float32, or in
    float64 where embeddings are; labels are best given on the CPU.

    A subclass gives `parts`.

    Attributes:
        world (World): The ranks of the process group.
    """

    embedding_size: int | None = None  # None: any
    num_classes: int | None = None

    @abstractmethod
    def parts(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """This rank's part of the batch -> sums [M] of terms, and how many terms each sum has [M].

        The loss is the sum of M means over all ranks: sums / counts. It is differentiated in
        batch.embeddings. A batch without a valid sample does not come here.
        """

    def finish(self, batch: Batch, value: Tensor) -> None:
        """After a batch's loss, a scalar: where a loss moves what it keeps; here nothing."""

    @outside_graphs
    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The loss over the valid samples of all ranks. Every rank calls it together.

        Args:
            embeddings (Tensor): [B, D] of float32, float64, bfloat16 or float16, of the same dtype and D on
                every rank; B may differ between ranks, and be 0. Their gradient has their dtype.
            labels (Tensor): [B] int64, class ids from 0 on; -1 ignores a sample.

        Returns:
            Tensor: A scalar, the same on every rank; 0, with a gradient of 0, where it has no term.

        Raises:
            LabelError: on every rank together, for a label out of range.
            ValueError: for a wrong type, shape, dtype or device.
            DistributedError: for another rank's wrong argument, or where ranks disagree on what this call is.
        """
        self.check()
        compute = functools.partial(self._compute, embeddings, labels)
        return loss_of_rows(embeddings, self.device_for(embeddings), compute)

    def _compute(
        self, embeddings: Tensor, labels: Tensor, wants_gradient: bool
    ) -> tuple[Tensor, Tensor | None]:
        """The loss, and its gradient by this rank's embeddings [B, D] times W if wanted; collective."""
        agreed = agree_on_batch(
            self.world,
            embeddings,
            labels,
            None,
            embedding_size=self.embedding_size,
            num_classes=self.num_classes,
            device=self.device_for(embeddings),
            mode=(self.training << 1) | wants_gradient,
            head_digest=self._digest,
            method=LOSS,
        )
        batch = self._gathered(embeddings, agreed, wants_gradient)
        if not len(batch.classes):
            nothing = batch.embeddings.new_zeros(())
            return nothing, torch.zeros_like(embeddings) if wants_gradient else None
        with torch.set_grad_enabled(wants_gradient):
            sums, counts = self.parts(batch)
        totals, numbers = self.world.all_reduce_sum(torch.stack([sums.detach(), counts.to(sums.dtype)]))
        numbers = numbers.clamp_min(1)
        value = (totals / numbers).sum()
        self.finish(batch, value)
        if not wants_gradient:
            return value, None
        (by_all,) = torch.autograd.grad(sums, batch.embeddings, numbers.reciprocal())
        own = self.world.reduce_scatter_rows(by_all, agreed.counts) * self.world.size
        return value, of_all_samples(own, agreed, embeddings)

    def _gathered(self, embeddings: Tensor, agreed: Agreed, wants_gradient: bool) -> Batch:
        """All ranks' valid samples; collective."""
        sent = valid_rows(embeddings.detach(), agreed)
        gathered = self.world.all_gather_rows(sent, agreed.counts).to(self.math_dtype_for(embeddings))
        begin = sum(agreed.counts[: self.world.rank])
        return Batch(
            embeddings=gathered.detach().requires_grad_(wants_gradient),
            classes=agreed.labels,
            labels=on_device(torch.from_numpy(agreed.labels), gathered.device),
            own=slice(begin, begin + len(agreed.valid)),
        )
