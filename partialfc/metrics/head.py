"""The metrics of a PartialFC head, in any training loop."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from partialfc.head.partial_fc import PartialFC
from partialfc.metrics.registry import Registry
from partialfc.metrics.touched import Touched

RECENT_FORWARDS = 100  # over which touched centres are counted
CollectiveObserver = Callable[[str, int, float], None]


class HeadMetrics:
    """Counts what a head samples and exchanges from now on; `log` adds what has to be read from the device::

        registry = Registry(run="mine", rank=rank)
        watched = HeadMetrics(registry, head)
        server = Server(registry, port=9850 + local_rank)
        for step, (images, labels) in enumerate(batches):
            ...                                   # forward, backward, step, as without
            if step % 100 == 0:
                watched.log()

    Only forward passes in training mode count, and only `log` reads from the device. Copies of the head,
    pickled ones included, are not counted. observer: is told of the head's collectives, in place of the
    registry.
    """

    def __init__(
        self, registry: Registry, head: PartialFC, *, observer: CollectiveObserver | None = None
    ) -> None:
        self.registry = registry
        self.head = head
        self._touched = Touched(len(head.shard), window=RECENT_FORWARDS)
        head.register_forward_hook(_Hook(self._forward_done), with_kwargs=True)
        head.world.traffic.observer = observer or registry.collective

    def log(self) -> None:
        """Report the last forward pass: target angles, embedding norm, centres touched. Reads the device."""
        if self.head.world.rank == 0:
            angles = target_angles(self.head)
            angles = angles[angles.isfinite()]
            self.registry.tally("partialfc_target_angle_degrees", angles.double().cpu().numpy())
        if len(self.head.last_norm):
            self.registry.set("partialfc_embedding_norm", float(self.head.last_norm.mean()))
        self.registry.set("partialfc_centres_touched_ratio", self._touched.ratio(self.head.step))

    def _forward_done(
        self, head: torch.nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], loss: Tensor
    ) -> None:
        if not self.head.training:
            return
        labels = kwargs["labels"] if "labels" in kwargs else args[-1]
        self.registry.add("partialfc_images_total", len(labels))
        positives, negatives = self.head.last_counts
        self.registry.add("partialfc_sampled_positives_total", positives)
        self.registry.add("partialfc_sampled_negatives_total", negatives)
        every_row = positives + negatives == len(self.head.shard)
        self._touched.add(self.head.step, None if every_row else self.head.last_sample.numpy())


class _Hook:
    """A forward hook whose copies and pickles do nothing: those of a module are copied along with it."""

    def __init__(self, call: Callable[..., None] | None = None) -> None:
        self._call = call

    def __call__(self, *args: Any) -> None:
        if self._call is not None:
            self._call(*args)

    def __reduce__(self) -> tuple[type["_Hook"], tuple[()]]:
        return _Hook, ()


def target_angles(head: PartialFC) -> Tensor:
    """Degrees [N] between each embedding of the last forward's global batch and its own centre."""
    return torch.rad2deg(torch.acos(head.last_target_cos.clamp(-1, 1)))
