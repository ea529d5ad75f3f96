"""How well the branch predicts what is hidden: its loss, and the share of cells that it has right."""

import functools

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from partialfc.head.agreement import EMBEDDING_DTYPES, LOSS, Agreed, agree_on_batch
from partialfc.head.attached import loss_of_rows
from partialfc.head.kernels.compiled import outside_graphs
from partialfc.head.surroundings import world_of
from partialfc.losses.of_ranks import LossOfRanks, of_all_samples, valid_rows

ABOVE_SIZE = 32  # bits of what ranks compare, where a map's height stands above its number of cells


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
            predicted (Tensor): [B, H, W] logits, above 0 where a cell is more likely hidden than not; of
                float32, float64, bfloat16 or float16, of the same dtype, H and W on every rank; B may differ
                between ranks, and be 0.
            masks (Tensor): [B, H, W], 1 where a cell is hidden, else 0; of any dtype.
            labels (Tensor | None): [B] int64, of which only -1 counts: it leaves an image out. None
                (default): every image takes part.

        Returns:
            Tensor: A scalar, the same on every rank; 0, with a gradient of 0, where there is no image.

        Raises:
            LabelError: on every rank together, for a label below -1.
            ValueError: for a wrong type, shape, dtype or device.
            DistributedError: for another rank's wrong argument, or where ranks disagree on what this call is.
        """
        self.check()
        compute = functools.partial(self._compute, predicted, masks, labels)
        return loss_of_rows(predicted, self.device_for(predicted), compute)

    def _compute(
        self, predicted: Tensor, masks: Tensor, labels: Tensor | None, wants_gradient: bool
    ) -> tuple[Tensor, Tensor | None]:
        """The loss, and its gradient by this rank's predictions times W if wanted; collective."""
        agreed = self._agree(predicted, masks, labels, wants_gradient)
        logits = valid_rows(predicted.detach(), agreed).to(self.math_dtype_for(predicted))
        target = valid_rows(masks.detach().to(logits), agreed)
        cells = max(1, predicted.shape[1] * predicted.shape[2])
        number = max(1, sum(agreed.counts)) * cells
        own = F.binary_cross_entropy_with_logits(logits, target, reduction="sum")
        value = self.world.all_reduce_sum(own) / number
        if not wants_gradient:
            return value, None
        gradient = (torch.sigmoid(logits) - target) * (self.world.size / number)
        return value, of_all_samples(gradient, agreed, predicted)

    def _agree(self, predicted: Tensor, masks: Tensor, labels: Tensor | None, wants_gradient: bool) -> Agreed:
        """Check this rank's arguments, and hear of the others'; collective."""
        problem = _problem(predicted, masks, labels)
        device = self.device_for(predicted)
        rows, height = torch.empty(0, 1, device=device), 0
        if problem is None:
            rows, height = predicted.detach().flatten(1), predicted.shape[1]
        none_ignored = torch.zeros(len(rows), dtype=torch.int64, device="cpu")
        return agree_on_batch(
            self.world,
            rows,
            none_ignored if labels is None or problem is not None else labels,
            None,
            embedding_size=None,
            num_classes=None,
            device=device,
            mode=(height << ABOVE_SIZE) | (self.training << 1) | wants_gradient,
            head_digest=self._digest,
            method=LOSS,
            problem=problem,
        )


def intersection_over_union(predicted: Tensor, masks: Tensor) -> float:
    """predicted [B, H, W] logits and masks [B, H, W] of 0 and 1 -> the IoU of hidden cells of all B images.

    Cells that are hidden and predicted so, over cells that are either. 1 where there is neither. Waits for
    the device.
    """
    said, hidden = predicted > 0, masks > 0.5
    either = int((said | hidden).sum())
    return int((said & hidden).sum()) / either if either else 1.0


def _problem(predicted: object, masks: object, labels: object) -> ValueError | None:
    """What is wrong with this rank's arguments, the dtype and the values of labels apart; None: nothing."""
    for name, value in {"predicted": predicted, "masks": masks}.items():
        if not isinstance(value, Tensor):
            return ValueError(f"{name} is a {type(value).__name__}; it must be a torch.Tensor")
        if value.is_meta:
            return ValueError(f"{name}.device is meta, which has no values; give it on a device that has")
    assert isinstance(predicted, Tensor)
    assert isinstance(masks, Tensor)
    if predicted.dtype not in EMBEDDING_DTYPES:
        return ValueError(f"predicted.dtype is {predicted.dtype}; it must be one of {EMBEDDING_DTYPES}")
    if predicted.ndim != 3 or masks.shape != predicted.shape:
        return ValueError(
            f"predicted is {tuple(predicted.shape)} and masks {tuple(masks.shape)}: both must be [B, H, W]"
        )
    if isinstance(labels, Tensor) and labels.shape != predicted.shape[:1]:
        return ValueError(
            f"labels is {tuple(labels.shape)}: it must be [B], one for each of {len(predicted)} images"
        )
    return None
