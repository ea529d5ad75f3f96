"""BatchNorm with the statistics of the batch of all ranks, on any backend and device.

torch.nn.SyncBatchNorm, which has kernels of its own for some accelerators and refuses a CPU, is taken there.
Batch statistics of parts are put together after Chan, Golub and LeVeque 1983, which loses no digits where the
mean is large.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from partialfc.distributed.accelerator import has_operator, is_accelerator
from partialfc.distributed.world import World
from partialfc.errors import ConfigError
from partialfc.head.kernels.compiled import outside_graphs

KNOWN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def synchronised(module: nn.Module, world: World, device: torch.device) -> nn.Module:
    """The module with its BatchNorm layers replaced, in place, by ones that share statistics over all ranks.

    Parameters, buffers and the names in a state_dict stay the same. On one rank nothing is replaced.
    Raises ConfigError for a BatchNorm of another class, which may do more than normalise.
    """
    if world.size == 1:
        return module
    for name, layer in module.named_modules():
        if isinstance(layer, _BatchNorm) and type(layer) not in KNOWN:
            raise ConfigError(
                f"train.sync_batchnorm is true, but the backbone's {name} is a {type(layer).__name__}: only "
                "torch.nn.BatchNorm1d, 2d and 3d can be synchronised; leave it false"
            )
    if has_operator("aten::batch_norm_stats", device):  # torch's kernels, of CUDA, ROCm and XPU
        convert = nn.SyncBatchNorm.convert_sync_batchnorm
        fused: nn.Module = convert(module, world.group)  # type: ignore[no-untyped-call]
        return fused
    return _replaced(module, world)


def _replaced(module: nn.Module, world: World) -> nn.Module:
    if isinstance(module, _BatchNorm):
        return SyncBatchNorm(module, world)
    for name, child in module.named_children():
        setattr(module, name, _replaced(child, world))
    return module


class SyncBatchNorm(_BatchNorm):
    """A BatchNorm layer's parameters and buffers, and in training mode the statistics of all ranks' batches.

    Its forward and backward pass in training mode are collective: one all-gather of 2C + 1 numbers, and one
    all-reduce of 2C. The numbers of samples may differ between ranks, and be 0.
    """

    def __init__(self, layer: _BatchNorm, world: World) -> None:
        bare = {"affine": False, "track_running_stats": False}
        super().__init__(layer.num_features, layer.eps, layer.momentum, **bare)
        self.affine, self.track_running_stats = layer.affine, layer.track_running_stats
        self.weight, self.bias = layer.weight, layer.bias
        self.running_mean, self.running_var = layer.running_mean, layer.running_var
        self.num_batches_tracked = layer.num_batches_tracked
        self.train(layer.training)
        self._world = world

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"a BatchNorm's input is {tuple(input.shape)}; it must be [B, C, ...]")

    @outside_graphs
    def forward(self, input: Tensor) -> Tensor:
        """input [B, C, ...] -> the same shape and dtype.

        For one value per channel in all: ValueError on a CPU, NaN on an accelerator, which is not waited for.
        """
        if not self.training:
            return super().forward(input)
        self._check_input_dim(input)
        mean, variance, count = _statistics(input.detach(), self._world)
        self._track(mean, variance, count)
        output: Tensor = _Normalise.apply(  # type: ignore[no-untyped-call]
            *(input, self.weight, self.bias, mean, variance, count, self.eps, self._world)
        )
        return output

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Move the running statistics, the variance without its bias, as torch does."""
        if not self.track_running_stats:
            return
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        rate = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        unbiased = variance * (count / (count - 1))
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), rate)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), rate)


def _statistics(values: Tensor, world: World) -> tuple[Tensor, Tensor, Tensor]:
    """values [B, C, ...] of every rank -> mean [C], biased variance [C] and count [] of all; collective."""
    count = values.numel() // values.shape[1]
    own = values.new_zeros(2, values.shape[1], dtype=torch.float64)
    if count:
        own = torch.stack(torch.batch_norm_update_stats(values, None, None, 0.0)).to(torch.float64)
    mine = torch.cat([own.flatten(), own.new_full((1,), count)])[None]
    table = world.all_gather_rows(mine, [1] * world.size)
    counts, total = table[:, -1:], table[:, -1].sum()
    # An accelerator would have to be waited for: there the statistics become NaN, and the step is a bad one.
    if not is_accelerator(values.device) and total <= 1:
        raise ValueError("a BatchNorm in training mode needs more than one value per channel over all ranks")
    means, variances = table[:, :-1].chunk(2, dim=1)
    mean = (means * counts).sum(0) / total
    variance = ((variances + (means - mean).square()) * counts).sum(0) / total
    return mean.to(_wide_dtype(values)), variance.to(_wide_dtype(values)), total


class _Normalise(torch.autograd.Function):
    """(input - mean) / sqrt(variance + eps) · weight + bias, where mean and variance depend on all inputs."""

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        count: Tensor,
        eps: float,
        world: World,
    ) -> Tensor:
        ctx.save_for_backward(input, weight, mean, variance, count)
        ctx.eps, ctx.world = eps, world
        with torch.autocast(input.device.type, enabled=False):
            return F.batch_norm(input, mean, variance, weight, bias, False, 0.0, eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        input, weight, mean, variance, count = ctx.saved_tensors
        # As if mean and variance were constants; then what comes through them.
        if input.numel():
            by_input, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
                *(gradient, input, weight, mean, variance, None, None, False, ctx.eps, [True, True, True])
            )
        else:  # which torch's function divides by
            by_input, of_weight, of_bias = gradient, torch.zeros_like(mean), torch.zeros_like(mean)
        by_weight = of_weight if ctx.needs_input_grad[1] else None
        by_bias = of_bias if ctx.needs_input_grad[2] else None
        if not ctx.needs_input_grad[0]:
            return None, by_weight, by_bias, None, None, None, None, None
        of_all = ctx.world.all_reduce_sum(torch.stack([of_bias, of_weight])) / count
        inverse = (variance + ctx.eps).rsqrt()
        factor = inverse if weight is None else inverse * weight.to(inverse.dtype)
        shape = [1, -1, *[1] * (input.dim() - 2)]
        through_mean, through_variance = (of_all * torch.stack([factor, factor * inverse])).view(2, *shape)
        centred = _wide(input) - mean.view(shape)
        by_input = _wide(by_input).sub_(through_mean).addcmul_(centred, through_variance, value=-1)
        by_input = by_input.to(input.dtype)
        return by_input, by_weight, by_bias, None, None, None, None, None


def _wide_dtype(values: Tensor) -> torch.dtype:
    return torch.float64 if values.dtype == torch.float64 else torch.float32


def _wide(values: Tensor) -> Tensor:
    """values in the dtype that sums over them have."""
    return values.to(_wide_dtype(values))
