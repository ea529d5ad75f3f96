"""The backbone on every rank, which computes after a resume exactly as it would have without the stop."""

from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from partialfc.distributed.accelerator import is_accelerator
from partialfc.distributed.world import World
from partialfc.training.kept_buffers import KeptBuffers

NEVER = 1 << 30  # once in so many steps


def replicate(
    backbone: nn.Module, world: World, example: torch.Tensor, *, compile: bool, amp: torch.dtype | None
) -> nn.Module:
    """The module that the training loop calls: compiled where asked, in DistributedDataParallel where W > 1.

    example: an input [B, channels, H, W] of the backbone just as training has them: of the same B, dtype,
    memory format and device, so that what is compiled for it is what training runs.
    """
    module = cast(nn.Module, torch.compile(backbone)) if compile else backbone
    if world.size == 1:
        return module
    devices = [example.device] if is_accelerator(example.device) else None
    parallel = DistributedDataParallel(module, device_ids=devices, process_group=world.group)
    # It would time a step of a hundred for its own log, and wait for the device before the next one.
    parallel._set_ddp_runtime_logging_sample_rate(NEVER)  # type: ignore[no-untyped-call]
    _order_buckets(parallel, example, amp, training=compile)
    return parallel


def without_reduction(module: nn.Module) -> AbstractContextManager[None]:
    """Inside, backward passes only add to this rank's gradients; the next one outside reduces them."""
    return module.no_sync() if isinstance(module, DistributedDataParallel) else nullcontext()


def _order_buckets(
    parallel: DistributedDataParallel, example: torch.Tensor, amp: torch.dtype | None, *, training: bool
) -> None:
    """One backward pass before the first step, new or resumed; its gradients are dropped.

    DistributedDataParallel reorders its buckets of gradients after its first backward pass, and with them the
    order of the sums over ranks. A resumed run has the same bits only if that is done before its first step.
    In evaluation mode, so that neither running statistics nor random numbers change; or as in `training`, for
    a compiled backbone, whose code for evaluation nothing else needs, and then these are put back.
    """
    statistics = KeptBuffers(lambda: [parallel])
    statistics.keep()
    parallel.module.train(training)
    devices = [example.device] if is_accelerator(example.device) else []
    with (
        torch.random.fork_rng(devices, device_type=example.device.type),
        torch.autocast(example.device.type, dtype=amp, enabled=amp is not None),
    ):
        parallel(example).sum().backward()
    parallel.zero_grad()
    statistics.restore()
    parallel.module.train()
