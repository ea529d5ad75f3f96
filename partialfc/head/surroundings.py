"""Mistakes around a head that would train wrongly without an error."""

import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from partialfc.distributed.world import World


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
