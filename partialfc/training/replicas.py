"""The network on every rank, which computes after a resume exactly as it would have without the stop."""

from collections.abc import Iterator, Mapping, Sequence
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
    network: nn.Module,
    world: World,
    example: torch.Tensor,
    *,
    compile: bool,
    amp: torch.dtype | None,
    whole_in_evaluation: bool = True,
) -> nn.Module:
    """The module that the training loop calls: compiled where asked, in DistributedDataParallel where W > 1.

    example: an input [B, channels, H, W] of the network just as training has them: of the same B, dtype,
    memory format and device, so that what is compiled for it is what training runs. whole_in_evaluation:
    whether the network uses all its parameters in evaluation mode too.
    """
    module = cast(nn.Module, torch.compile(network)) if compile else network
    if world.size == 1 or not any(parameter.requires_grad for parameter in network.parameters()):
        return module  # DistributedDataParallel has nothing to do, and refuses the latter
    devices = [example.device] if is_accelerator(example.device) else None
    parallel = DistributedDataParallel(module, device_ids=devices, process_group=world.group)
    # It would time a step of a hundred for its own log, and wait for the device before the next one.
    parallel._set_ddp_runtime_logging_sample_rate(NEVER)  # type: ignore[no-untyped-call]
    _order_buckets(parallel, example, amp, training=compile or not whole_in_evaluation)
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
    a network that leaves parts out in evaluation, and a compiled one, whose code for evaluation nothing else
    needs: then these are put back.
    """
    statistics = KeptBuffers(lambda: [parallel])
    statistics.keep()
    parallel.module.train(training)
    devices = [example.device] if is_accelerator(example.device) else []
    with (
        torch.random.fork_rng(devices, device_type=example.device.type),
        torch.autocast(example.device.type, dtype=amp, enabled=amp is not None),
    ):
        sums = [output.sum() for output in _with_gradients(parallel(example))]
        torch.stack(sums).sum().backward()  # type: ignore[no-untyped-call]
    parallel.zero_grad()
    statistics.restore()
    parallel.module.train()


def _with_gradients(outputs: object) -> Iterator[torch.Tensor]:
    """The tensors that need gradients in what a network returned: a tensor, or tuples and dicts of them."""
    if isinstance(outputs, torch.Tensor):
        if outputs.requires_grad:
            yield outputs
    elif isinstance(outputs, Mapping):
        for each in outputs.values():
            yield from _with_gradients(each)
    elif isinstance(outputs, Sequence):
        for each in outputs:
            yield from _with_gradients(each)
