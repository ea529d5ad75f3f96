"""How well the branch predicts what is hidden: its loss, and the share of cells that it has right."""

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from partialfc.distributed.accelerator import on_device
from partialfc.head.attached import attach_gradient
from partialfc.head.kernels.compiled import outside_graphs
from partialfc.head.surroundings import outside_modes, world_of
from partialfc.losses.of_ranks import LossOfRanks


class SegmentationLoss(LossOfRanks):
    """The mean over all cells of all ranks' images of the binary cross-entropy between prediction and mask.

    `loss(predicted [B, H, W], masks [B, H, W])` is the same number on every rank. Backward gives each rank
    the gradient of its own predictions, times the world size, so that the averaging of
    DistributedDataParallel makes the network's gradients those of one process on the whole batch. It computes
    in float32, or in float64 where predictions are. The segmentation branch of Chen et al. 2018
    (arXiv:1709.05188). It is a module without parameters.

    Args:
        process_group (torch.distributed.ProcessGroup | None): The ranks of the global batch; None (default)
            for the default group, or this process alone where there is none.

    Raises:
        ValueError: for a process_group that is none.
    """

    def __init__(self, *, process_group: dist.ProcessGroup | None = None) -> None:
        super().__init__(world_of(process_group), None)

    @outside_graphs
    def forward(self, predicted: Tensor, masks: Tensor, labels: Tensor | None = None) -> Tensor:
        """The loss over the images of all ranks. Every rank calls it together.

        Args:
            predicted (Tensor): [B, H, W] logits, above 0 where a cell is more likely hidden than not; B may
                differ between ranks, and be 0.
            masks (Tensor): [B, H, W], 1 where a cell is hidden, else 0; of any dtype.
            labels (Tensor | None): [B], of which only -1 counts: it leaves an image out. None (default):
                every image takes part.

        Returns:
            Tensor: A scalar, the same on every rank; 0, with a gradient of 0, where there is no image.

        Raises:
            ValueError: for shapes that do not fit.
        """
        self.check()
        _check_shapes(predicted, masks, labels)
        with outside_modes(predicted.device):
            value, gradient = self._compute(predicted, masks, labels)
        return attach_gradient(value, predicted, embedding_gradient=gradient)

    def _compute(self, predicted: Tensor, masks: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """The loss, and its gradient by this rank's predictions times W; collective."""
        logits = predicted.detach().to(self.math_dtype_for(predicted))
        target = masks.detach().to(logits)
        counts = torch.ones(len(logits), dtype=logits.dtype, device=logits.device)
        if labels is not None:
            counts = on_device(labels.detach(), logits.device).ge(0).to(logits.dtype)
        cells = max(1, logits[0].numel() if len(logits) else 1)
        each = F.binary_cross_entropy_with_logits(logits, target, reduction="none").flatten(1).sum(1)
        sums = torch.stack([(each * counts).sum() / cells, counts.sum()])
        total, number = self.world.all_reduce_sum(sums)
        number = number.clamp_min(1)
        share = (counts * (self.world.size / number / cells))[:, None, None]
        return total / number, (torch.sigmoid(logits) - target) * share


def intersection_over_union(predicted: Tensor, masks: Tensor) -> float:
    """predicted [B, H, W] logits and masks [B, H, W] of 0 and 1 -> the IoU of hidden cells of all B images.

    Cells that are hidden and predicted so, over cells that are either. 1 where there is neither. Waits for
    the device.
    """
    said, hidden = predicted > 0, masks > 0.5
    either = int((said | hidden).sum())
    return int((said & hidden).sum()) / either if either else 1.0


def _check_shapes(predicted: Tensor, masks: Tensor, labels: Tensor | None) -> None:
    if predicted.ndim != 3 or masks.shape != predicted.shape:
        raise ValueError(
            f"predicted is {tuple(predicted.shape)} and masks {tuple(masks.shape)}: both must be [B, H, W]"
        )
    if labels is not None and labels.shape != predicted.shape[:1]:
        raise ValueError(
            f"labels is {tuple(labels.shape)}: it must be [B], one for each of {len(predicted)} images"
        )
