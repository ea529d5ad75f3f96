"""The backbone on every rank, and the same arithmetic from its first step on as after a resume."""

from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from partialfc.distributed.world import World


def replicate(
    backbone: nn.Module, world: World, example: torch.Tensor, *, compile: bool, amp: torch.dtype | None
) -> nn.Module:
    """The module that the training loop calls: compiled if asked, in DistributedDataParallel if W > 1.

    example: an input of the backbone, of any batch size, on its device.
    """
    module = cast(nn.Module, torch.compile(backbone)) if compile else backbone
    if world.size == 1:
        return module
    devices = [example.device] if example.is_cuda else None
    parallel = DistributedDataParallel(module, device_ids=devices, process_group=world.group)
    _settle(parallel, example, amp)
    return parallel


def without_reduction(module: nn.Module) -> AbstractContextManager[None]:
    """In it, backward passes only add to a rank's own gradients; the next one outside reduces them all."""
    return module.no_sync() if isinstance(module, DistributedDataParallel) else nullcontext()


def _settle(parallel: DistributedDataParallel, example: torch.Tensor, amp: torch.dtype | None) -> None:
    """A first backward pass, whose gradients are dropped, before the first or the resumed step.

    DDP arranges its gradient buckets anew after its first one, which changes the order of the sums over
    ranks; a resumed run is bit-identical only if both kinds of run have that behind them. In evaluation
    mode, so that neither statistics nor random numbers move.
    """
    parallel.module.eval()
    with torch.autocast(example.device.type, dtype=amp, enabled=amp is not None):
        parallel(example).sum().backward()
    parallel.zero_grad()
    parallel.module.train()
