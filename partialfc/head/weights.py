"""How much each sample counts in the mean loss: its weight times that of its class, divided by their sum."""

import math
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

    Only their ratios count, so those of all classes are scaled by a power of two, the largest to 0.5..1: none
    overflows, and no bit is lost. Beside it what ranks can compare: a checksum where all classes were given.
    Raises ValueError for another length, or a value that is no real number, not finite, below 0 or further
    from the others than `dtype` reaches.
    """
    values = _of_each_class("class_weights", class_weights, shard)
    good = np.isfinite(values) & (values >= 0)
    refuse_first("class_weights", values, ~good, "weights must be finite and at least 0")
    of_all = len(values) == shard.num_classes
    scaled = np.ldexp(values, -int(np.frexp(values.max())[1])) if of_all else values
    limits = torch.finfo(dtype)
    refuse_first(
        "class_weights",
        values,
        ((scaled > 0) != (values > 0)) | ((scaled > 0) & (scaled < limits.tiny)) | (scaled > limits.max),
        f"{dtype} holds {limits.tiny:.2g} to {limits.max:.2g}"
        + (
            " of the largest weight: make them less different"
            if of_all
            else "; give the weights of all classes"
        ),
    )
    own = scaled[shard.start : shard.stop] if of_all else scaled
    return torch.from_numpy(own).to(dtype, copy=True), _compared(values, shard)


def margins_of_shard(
    class_margins: Any, shard: ClassShard, dtype: torch.dtype, *, below: float
) -> tuple[Tensor, Any]:
    """One margin for each class, of all classes [C] or of the shard's [C_l] -> the shard's [C_l] in `dtype`.

    Beside it what ranks can compare. Raises ValueError for another length, or a value that is no real number
    of at least 0 and below `below`.
    """
    values = _of_each_class("class_margins", class_margins, shard)
    good = (values >= 0) & (values < below)
    refuse_first(
        "class_margins", values, ~good, f"with this margin they must be at least 0 and below {shown(below)}"
    )
    own = values[shard.start : shard.stop] if len(values) == shard.num_classes else values
    return torch.from_numpy(own).to(dtype, copy=True), _compared(values, shard)


def shown(limit: float) -> str:
    """The end of a range of margins, as messages have it."""
    return "pi" if limit == math.pi else f"{limit:g}"


def _of_each_class(name: str, given: Any, shard: ClassShard) -> npt.NDArray[np.float64]:
    values = real_numbers(name, given)
    if values.ndim != 1 or len(values) not in (shard.num_classes, len(shard)):
        raise ValueError(
            f"{name} has the shape {values.shape}; it must be [{shard.num_classes}], one "
            f"for each class, or [{len(shard)}], for those of this rank's shard"
        )
    return values


def _compared(values: npt.NDArray[np.float64], shard: ClassShard) -> Any:
    """What ranks can compare: a checksum where the values of all classes were given.

    One class alone is all classes to its own rank, and none to the others, which may give either.
    """
    return zlib.crc32(values.tobytes()) if len(values) == shard.num_classes > 1 else "of the shard"


def real_numbers(name: str, given: Any) -> npt.NDArray[np.float64]:
    """A tensor, an array or a sequence of numbers, neither complex nor bool, as float64 of the same shape."""
    kind = f"is a {type(given).__name__}"
    try:
        if isinstance(given, Tensor):
            kind = f"is a tensor of {given.dtype}"
            if not given.is_complex() and given.dtype != torch.bool:
                return given.detach().cpu().to(torch.float64).numpy()
        else:
            array = np.asarray(given)
            kind += f" of {array.dtype}" if array.dtype.kind in "bc" else ""
            if array.dtype.kind in "iufO":
                return array.astype(np.float64)
    except (TypeError, ValueError, RuntimeError):
        pass
    raise ValueError(f"{name} {kind}; it must be a tensor or an array of real numbers, one for each class")


def refuse_first(name: str, values: npt.NDArray[np.float64], bad: npt.NDArray[np.bool_], rule: str) -> None:
    """ValueError with the first of the values [n] that is bad [n]."""
    if bad.any():
        index = int(np.argmax(bad))
        raise ValueError(f"{name}[{index}] is {values[index]}; {rule}")
