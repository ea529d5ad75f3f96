"""The process group, modules and modes around a head: what of them would train wrongly without an error."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from partialfc.distributed.world import World
from partialfc.head.shard import ClassShard


def world_of(process_group: dist.ProcessGroup | None) -> World:
    """The ranks of a caller's process_group, None for the default one; ValueError for anything else."""
    if not isinstance(process_group, dist.ProcessGroup | None):
        raise ValueError(
            f"process_group is {process_group!r}; it must be None, for the default group, or a "
            "torch.distributed.ProcessGroup that this process is in"
        )
    return World.of(process_group)


def check_built_after_group(world: World, what: str) -> None:
    """Raises RuntimeError for a head, or `what` it is, that was built before the process group."""
    if world.group is None and dist.is_initialized() and dist.get_world_size() > 1:
        raise RuntimeError(
            f"this {what} was built before torch.distributed.init_process_group, so it takes this rank for "
            "the only one; build it afterwards"
        )


def check_surroundings(head: nn.Module, world: World, *, training: bool = False, what: str = "head") -> None:
    """Raises RuntimeError for a head that was built before the process group, or is inside DDP.

    And for the forward of a training step that a backward calls, as torch.utils.checkpoint's does. what: a
    word for it, if it is no head.
    """
    check_built_after_group(world, what)
    around = getattr(DistributedDataParallel, "_active_ddp_module", None)
    if around is not None and any(module is head for module in around.modules()):
        raise RuntimeError(
            f"this {what} is inside DistributedDataParallel, which has overwritten its shard with rank 0's; "
            "wrap the backbone alone (Fabric.setup and Accelerator.prepare wrap what they are given), and "
            f"build the {what} again"
        )
    if training and torch._C._current_graph_task_id() != -1:
        raise RuntimeError(
            f"this {what}'s forward is called inside a backward pass, as torch.utils.checkpoint does to "
            "compute it again; it would not be what it was the first time. Checkpoint the backbone alone: "
            f"the {what} keeps little that this would save"
        )


@contextmanager
def outside_modes(device: torch.device) -> Iterator[None]:
    """Computing without autograd, autocast and inference mode, whatever the caller has.

    Autocast would run the head's own GEMMs in another dtype than its compute_dtype. In inference mode a
    margin could not be differentiated, and what is kept from a batch could not be used outside it.
    """
    with torch.inference_mode(False), torch.no_grad(), torch.autocast(device.type, enabled=False):
        yield


def world_for_pickled(shard: ClassShard, what: str = "head") -> World:
    """The default process group, for a shard from a pickle; RuntimeError where it has another rank there."""
    world = World.of()
    if (world.rank, world.size) != (shard.rank, shard.world_size):
        raise RuntimeError(
            f"this {what} was pickled on rank {shard.rank} of {shard.world_size}, and this process is rank "
            f"{world.rank} of {world.size}, so its shard would hold the wrong classes: pickle "
            "and load on the same ranks, or keep partialfc's checkpoints, which reshard. One of another "
            "process group than the default one cannot be loaded from a pickle, which keeps no group: "
            "build it with its process_group, and load its state_dict"
        )
    return world
