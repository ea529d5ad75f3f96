"""An objective around another one."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from partialfc.checkpoint.tensors import Tensors
from partialfc.distributed.world import World
from partialfc.metrics.registry import Registry
from partialfc.metrics.watch import CollectiveObserver, Watch
from partialfc.training.objectives.objective import Objective, Outputs
from partialfc.training.stages import Value


class Around(Objective):
    """Does what the inner objective does, but on another network around the same backbone.

    Subclasses change what they add to; they call the inner one's loss with what it takes for outputs.
    """

    def __init__(self, inner: Objective, network: nn.Module) -> None:
        super().__init__(network, inner.backbone)
        inner.network = network  # so that it keeps the buffers of all of it
        self.inner = inner
        self.head, self.weights = inner.head, inner.weights
        self.terms, self.math_dtype, self.computes = inner.terms, inner.math_dtype, inner.computes

    def loss(self, images: Tensor, outputs: Outputs, labels: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        return self.inner.loss(images, outputs, labels)

    @property
    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        return self.inner.optimizers

    def keep(self) -> None:
        self.inner.keep()

    def restore(self, skip: Tensor) -> None:
        self.inner.restore(skip)

    def stepped(self, skip: Tensor) -> None:
        self.inner.stepped(skip)

    def reconfigure(self, values: Mapping[str, Value], *, changed: Collection[str], settled: bool) -> None:
        self.inner.reconfigure(values, changed=changed, settled=settled)

    def watch(self, registry: Registry, observer: CollectiveObserver) -> Watch:
        return self.inner.watch(registry, observer)

    @property
    def worlds(self) -> Sequence[World]:
        return self.inner.worlds

    def records(self, embeddings: Tensor, labels: Tensor) -> Iterator[tuple[str, dict[str, Any]]]:
        return self.inner.records(embeddings, labels)

    def centres_finite(self) -> Callable[[], bool]:
        return self.inner.centres_finite()

    @property
    def hint(self) -> str:
        return self.inner.hint

    @property
    def taking_part(self) -> int:
        return self.inner.taking_part

    def tensors(self) -> Tensors:
        return self.inner.tensors()

    def values(self) -> dict[str, Any]:
        return self.inner.values()

    def restore_state(
        self, values: Mapping[str, Any], replicated: Mapping[str, Mapping[str, Tensor]]
    ) -> None:
        self.inner.restore_state(values, replicated)
