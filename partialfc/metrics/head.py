"""The metrics of a PartialFC head, in any training loop."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from partialfc.distributed.accelerator import OnTheWay
from partialfc.head.partial_fc import PartialFC
from partialfc.metrics.registry import Registry
from partialfc.metrics.touched import Touched
from partialfc.metrics.watch import CollectiveObserver

RECENT_FORWARDS = 100  # over which touched centres are counted


class HeadMetrics:
    """Counts what a head samples and exchanges from now on; `log` adds what has to be read from the device::

        registry = Registry(run="mine", rank=rank)
        watched = HeadMetrics(registry, head)
        server = Server(registry, port=9850 + local_rank)
        for step, (images, labels) in enumerate(batches):
            ...                                   # forward, backward, step, as without
            if step % 100 == 0:
                watched.log()

    Only forward passes in training mode count, and only `log` reads from the device: it waits, unless it is
    given what `measure` asked for a step before. Copies of the head, pickled ones included, are not counted.
    observer: is told of the head's collectives, in place of the
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

    def measure(self) -> "HeadValues":
        """Ask for what `log` reports of the last forward pass, without waiting for the device."""
        return HeadValues(self.head, touched_ratio=self._touched.ratio(self.head.step))

    def log(self, values: "HeadValues | None" = None) -> None:
        """Report the last forward pass: target angles, embedding norm, centres touched. Reads the device.

        values: those of an earlier one, which `measure` gave; they are there a step later.
        """
        values = values or self.measure()
        angles = values.angles()
        if self.head.world.rank == 0:
            finite = angles[np.isfinite(angles)]
            self.registry.tally("partialfc_target_angle_degrees", finite.astype(np.float64))
        if len(angles):
            self.registry.set("partialfc_embedding_norm", values.embedding_norm())
        self.registry.set("partialfc_centres_touched_ratio", values.touched_ratio)

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


class HeadValues:
    """Numbers about a head's last forward pass over the global batch, on their way from the device.

    touched_ratio: the share of this rank's centres that took part in any of the last forward passes.
    """

    def __init__(self, head: PartialFC, *, touched_ratio: float) -> None:
        self._angles = OnTheWay(torch.rad2deg(torch.acos(head.last_target_cos.clamp(-1, 1))))
        self._norm = OnTheWay(head.last_norm.mean())
        self.touched_ratio = touched_ratio

    def angles(self) -> npt.NDArray[Any]:
        """Degrees [N] between each embedding and its own centre. Waits until they are there."""
        return self._angles.values().numpy()

    def embedding_norm(self) -> float:
        """The mean norm of the embeddings, NaN of none. Waits until it is there."""
        return float(self._norm.values())
