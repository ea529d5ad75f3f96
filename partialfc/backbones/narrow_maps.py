"""Right gradients where a map is narrower than the stride of a convolution, on a CPU in bfloat16.

There torch (2.13 with oneDNN, on a CPU that has AVX512-BF16) leaves numbers of the weight's gradient
unwritten: those of the kernel's columns that only ever meet the padding at the right. They should be 0, and
are what the memory held before, at times NaN. Small images end in such maps, of one column.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


def widen_narrow_maps(network: nn.Module) -> None:
    """Let every strided convolution of the network widen too narrow a map with the zeros of its padding.

    That changes no result: a map [B, C, H, W] with W below the stride gets columns of zeros at its right, up
    to the stride. They give no further column of the output where the padding of both sides together is less
    than the kernel; a convolution with more is left alone. So is all on another device than a CPU, and all
    that computes no gradients.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and _may_be_wrong(module):
            module.register_forward_pre_hook(_widened)


def _may_be_wrong(conv: nn.Conv2d) -> bool:
    """Whether it has a stride and a padding, and of zeros, by which `_widened` changes nothing."""
    if isinstance(conv.padding, str) or conv.padding_mode != "zeros":  # by name: none, or without a stride
        return False
    kernel = conv.dilation[1] * (conv.kernel_size[1] - 1) + 1
    return conv.stride[1] > 1 and 0 < 2 * conv.padding[1] < kernel


def _widened(conv: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """A forward pre-hook: the input [B, C, H, W] with at least as many columns as the stride."""
    assert isinstance(conv, nn.Conv2d)
    if not (inputs and torch.is_grad_enabled() and inputs[0].device.type == "cpu"):
        return None
    missing = conv.stride[1] - inputs[0].shape[-1]
    return (F.pad(inputs[0], (0, missing)),) if missing > 0 else None
