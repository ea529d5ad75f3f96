"""State that margins keep of the batches before."""

from torch import Tensor


def moving_average(old: Tensor, of_batch: Tensor, momentum: float) -> Tensor:
    """[] and [] -> momentum · of_batch + (1 - momentum) · old [], in the dtype of old."""
    return momentum * of_batch.detach().to(old.dtype) + (1.0 - momentum) * old
