"""How much each sample counts in the mean loss: its weight times that of its class, divided by their sum."""

import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from partialfc.distributed.accelerator import on_device
from partialfc.head.shard import ClassShard

Share = float | Tensor  # a sample's part of the mean loss: the same for all, or [N]


def share_of(weights: npt.NDArray[np.float64] | None, count: int, like: Tensor) -> Share:
    """weights [N], at least 0 -> each sample's part of the mean, 0 where all weights are 0; None: 1 / N.

    The result has the dtype and the device of `like`.
    """
    if weights is None:
        return 1.0 / max(count, 1)
    if weights.any():
        weights = weights / weights.max()  # so that no sum overflows
        weights = weights / weights.sum()
    return on_device(torch.from_numpy(weights).to(like.dtype), like.device)


def with_class_weights(share: Share, of_classes: Tensor) -> Tensor:
    """Each sample's part of the mean, and its class's weight [N] -> its part once that counts too [N]."""
    weighted = of_classes * share
    total = weighted.sum()
    return weighted / torch.where(total > 0, total, 1.0)


def weights_of_shard(class_weights: Any, shard: ClassShard, dtype: torch.dtype) -> tuple[Tensor, Any]:
    """One weight for each class, of all classes [C] or of the shard's [C_l] -> the shard's [C_l] in `dtype`.

    Beside it what ranks can compare: a checksum where all classes were given. Raises ValueError for another
    length, or a value that is not finite or below 0.
    """
    try:
        given = class_weights if isinstance(class_weights, Tensor) else np.asarray(class_weights, np.float64)
        values = torch.as_tensor(given).detach().cpu().to(torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"class_weights is a {type(class_weights).__name__}; it must be a tensor or an array of numbers, "
            "one for each class"
        ) from None
    if values.dim() != 1 or len(values) not in (shard.num_classes, len(shard)):
        raise ValueError(
            f"class_weights has the shape {tuple(values.shape)}; it must be [{shard.num_classes}], a weight "
            f"for each class, or [{len(shard)}], for those of this rank's shard"
        )
    bad = torch.nonzero(~(torch.isfinite(values) & (values >= 0)))[:1]
    if len(bad):
        index = int(bad)
        raise ValueError(
            f"class_weights[{index}] is {values[index].item()}; weights must be finite and at least 0"
        )
    if len(values) != shard.num_classes:
        return values.to(dtype, copy=True), "of the shard"
    return values[shard.start : shard.stop].to(dtype, copy=True), zlib.crc32(values.numpy().tobytes())
