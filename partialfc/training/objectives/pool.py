"""A class pool in place of a head: a part of each batch is written to it, the rest is classified."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from partialfc.checkpoint.tensors import Tensors
from partialfc.distributed.accelerator import on_device
from partialfc.distributed.world import World
from partialfc.head.shard import ClassShard
from partialfc.pool.class_pool import DynamicClassPool
from partialfc.pool.gallery import GalleryNetwork
from partialfc.training.counts import count
from partialfc.training.head_settings import MARGIN, MarginOf
from partialfc.training.objectives.objective import Objective, Outputs
from partialfc.training.stages import Value


class Halves:
    """Which images of this rank's batch become features, and which are classified."""

    def __init__(
        self, features: npt.NDArray[np.int64], rest: npt.NDArray[np.int64], device: torch.device
    ) -> None:
        self.features, self.rest = torch.from_numpy(features), torch.from_numpy(rest)
        self.features_there, self.rest_there = (
            on_device(index, device) for index in (self.features, self.rest)
        )


class Probe(nn.Module):
    """The backbone, on the images of a batch that are classified; the gallery takes over its statistics.

    It does so here, in the first micro-batch of a step: there DistributedDataParallel has made the running
    statistics the same on every rank. In those that follow they are each rank's own.

    first: whether the next batch is the first of its step.
    """

    def __init__(self, backbone: nn.Module, gallery: GalleryNetwork, rest: Tensor) -> None:
        super().__init__()
        self.backbone = backbone
        self.gallery = (gallery,)  # in a tuple, so that it is no part of this module
        self.rest = rest  # no buffer: DistributedDataParallel would give every rank that of rank 0
        self.first = True

    def forward(self, images: Tensor) -> Any:
        """images [B, C, H, W] -> the embeddings of those that are classified."""
        if self.training and self.first:
            self.gallery[0].take_statistics(self.backbone)
        return self.backbone(images[self.rest])


class ClassPool(Objective):
    """The loss of a `DynamicClassPool`, whose features a gallery network gives that follows the backbone."""

    terms = ("head", "hard_negatives")
    computes = "loss of the class pool"

    def __init__(
        self,
        backbone: nn.Module,
        pool: DynamicClassPool,
        gallery: GalleryNetwork,
        halves: Halves,
        margin_of: MarginOf,
    ) -> None:
        """margin_of: gives the margins of `stages`."""
        self._probe = Probe(backbone, gallery, halves.rest_there)
        super().__init__(self._probe, backbone)
        self.pool, self.gallery = pool, gallery
        self.math_dtype = pool.math_dtype
        self._halves = halves
        self._margin_of = margin_of

    def loss(self, images: Tensor, outputs: Outputs, labels: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        self._probe.first = False
        halves = self._halves
        self.pool.write(self.gallery(images[halves.features_there]), labels[halves.features])
        loss: Tensor = self.pool(outputs, labels[halves.rest])
        self.saw(outputs)
        return loss, self.pool.last_terms.unbind()

    def buffered(self) -> Sequence[nn.Module]:
        return [self.pool.margin]

    def keep(self) -> None:
        super().keep()
        self._probe.first = True

    def stepped(self, skip: Tensor) -> None:
        self.gallery.follow(self.backbone, skip, statistics=False)

    def reconfigure(self, values: Mapping[str, Value], *, changed: Collection[str], settled: bool) -> None:
        super().reconfigure(values, changed=changed, settled=settled)
        if any(key.startswith(MARGIN) for key in changed):
            self.pool.reconfigure(margin=self._margin_of(values), settled=settled)

    @property
    def worlds(self) -> Sequence[World]:
        return [self.pool.world]

    @property
    def taking_part(self) -> int:
        return self.pool.count

    def tensors(self) -> Tensors:
        gallery = {f"gallery/{name}": t for name, t in self.gallery.network.state_dict().items()}
        margin = {f"margin/{name}": t for name, t in self.pool.margin.state_dict().items()}
        order = {f"pool/{name}": t for name, t in self.pool.order_state().items()}
        name = "pool/features"
        return Tensors({name: self._own_rows}, gallery | margin | order, {}, {name: self.pool.size})

    def values(self) -> dict[str, Any]:
        return {"pool_step": self.pool.step}

    def restore_state(
        self, values: Mapping[str, Any], replicated: Mapping[str, Mapping[str, Tensor]]
    ) -> None:
        self.gallery.network.load_state_dict(replicated["gallery"])
        self.pool.margin.load_state_dict(replicated.get("margin", {}))
        self.pool.restore_order(replicated["pool"])
        self.pool.step = count(values, "pool_step")
        if not self.pool.sharded:
            world, size = self.pool.world, self.pool.size
            counts = [len(ClassShard(size, rank, world.size)) for rank in range(world.size)]
            self.pool.features.copy_(world.all_gather_rows(self._own_rows, counts))

    @property
    def _own_rows(self) -> Tensor:
        """The slots that this rank saves and loads: its shard, also where it has all of them."""
        if self.pool.sharded:
            return self.pool.features
        world = self.pool.world
        shard = ClassShard(self.pool.size, world.rank, world.size)
        return self.pool.features[shard.start : shard.stop]
