"""The process group and the modules around a head: what of them would train wrongly without an error."""

import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from partialfc.distributed.world import World
from partialfc.head.shard import ClassShard


def check_surroundings(head: nn.Module, world: World) -> None:
    """Raises RuntimeError for a head that was built before the process group, or is inside DDP."""
    if world.group is None and dist.is_initialized() and dist.get_world_size() > 1:
        raise RuntimeError(
            "this head was built before torch.distributed.init_process_group, so it holds all classes on "
            "every rank; build it afterwards"
        )
    around = getattr(DistributedDataParallel, "_active_ddp_module", None)
    if around is not None and any(module is head for module in around.modules()):
        raise RuntimeError(
            "this head is inside DistributedDataParallel, which has overwritten its shard with rank 0's; "
            "wrap the backbone alone, and build the head again"
        )


def world_for_pickled(shard: ClassShard) -> World:
    """The default process group, for a shard from a pickle; RuntimeError where it has another rank there."""
    world = World.of()
    if (world.rank, world.size) != (shard.rank, shard.world_size):
        raise RuntimeError(
            f"this head was pickled on rank {shard.rank} of {shard.world_size}, and this process is rank "
            f"{world.rank} of {world.size}, so its shard would hold the wrong classes: pickle "
            "and load on the same ranks, or keep partialfc's checkpoints, which reshard"
        )
    return world
