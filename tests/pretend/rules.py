"""What a GPU would not do, or not without a wait: found before the operation runs."""

from typing import Any

import torch
from torch import Tensor

from tests.pretend.machine import machine
from tests.pretend.tensor import PretendTensor

aten = torch.ops.aten
# The size or the value of their result is known only once the device has computed it.
WAITS = {
    aten._coalesce,
    aten._local_scalar_dense,
    aten.nonzero,
    aten.masked_select,
    aten.equal,
    aten.is_nonzero,
    aten._unique,
    aten._unique2,
    aten.unique_dim,
    aten.unique_consecutive,
    aten.bincount,
    aten.repeat_interleave,
}
FUSED = {aten._fused_sgd_, aten._fused_adamw_}
INDEXING = {aten.index, aten.index_put, aten.index_put_}


def check(func: Any, args: tuple[Any, ...], tensors: list[Tensor]) -> None:
    """Log the faults of an operation with at least one tensor of the device.

    Raises RuntimeError where another device's tensor is among its arguments, or the tensors of a fused
    optimizer's parameter differ in memory order, as torch does on CUDA.
    """
    packet = func.overloadpacket
    if packet in WAITS:
        machine.log.fault("wait", str(packet))
    if packet in FUSED:
        _check_order(packet, args)
    if packet in INDEXING:
        _check_index(packet, args)
        tensors = [each for each in tensors if not any(each is index for index in args[1])]
    # A number in a tensor of its own may lie on the host: the host reads it.
    others = [each for each in tensors if not isinstance(each, PretendTensor) and each.dim() > 0]
    if others:
        raise RuntimeError(
            f"{func}: a tensor {list(others[0].shape)} on the CPU, and others on {machine.device}"
        )


def _check_index(packet: Any, args: tuple[Any, ...]) -> None:
    for index in args[1]:
        if not isinstance(index, Tensor):
            continue
        if not isinstance(index, PretendTensor):
            machine.log.fault("blocking copy", "an index on the CPU")
        if index.dtype in (torch.bool, torch.uint8):
            one_value = packet is not aten.index and args[2].numel() == 1
            if not one_value:  # that one becomes masked_fill
                machine.log.fault("wait", "an index of booleans")


def _check_order(packet: Any, args: tuple[Any, ...]) -> None:
    """Of a fused optimizer's arguments, those that are lists are in the order of its parameters."""
    for of_parameter in zip(*[each for each in args if isinstance(each, list) and each], strict=False):
        given = [each.behind for each in of_parameter if each.dim()]  # the number of steps has none
        orders = {_strides(each) for each in given if each.shape == given[0].shape}
        if len(orders) > 1:
            raise RuntimeError(f"{packet}: params, grads and their state must have the same layout")


def _strides(tensor: Tensor) -> tuple[int, ...]:
    """Those that say something of where its elements lie."""
    return tuple(stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if size > 1)
