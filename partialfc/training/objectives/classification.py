"""The margin softmax over all classes, and the losses beside it: what a run trains unless told otherwise."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from partialfc.checkpoint.tensors import Tensors
from partialfc.distributed.world import World
from partialfc.head.optim.base import RowOptimizer
from partialfc.head.partial_fc import PartialFC
from partialfc.losses.weighted import WeightedLosses
from partialfc.metrics.head import HeadMetrics
from partialfc.metrics.registry import Registry
from partialfc.metrics.watch import CollectiveObserver
from partialfc.training.angles import angle_record, measure_angles
from partialfc.training.counts import count
from partialfc.training.head_settings import MarginOf, reconfigure
from partialfc.training.objectives.objective import Objective, Outputs
from partialfc.training.stages import Value


class Classification(Objective):
    """The head with its own optimizer, on the embeddings that the network returns."""

    head: PartialFC
    computes = "logits"

    def __init__(
        self,
        backbone: nn.Module,
        head: PartialFC,
        head_optimizer: RowOptimizer,
        losses: WeightedLosses,
        margin_of: MarginOf,
    ) -> None:
        """margin_of: gives the margins of `stages`."""
        super().__init__(backbone, backbone)
        self.head = head
        self.head_optimizer = head_optimizer
        self.losses = losses
        self.weights = losses.weights
        self.terms = losses.terms
        self.math_dtype = head.math_dtype
        self._margin_of = margin_of

    def loss(self, images: Tensor, outputs: Outputs, labels: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        whole: Tensor = self.head(outputs, labels)
        if not len(self.losses):
            return whole, []
        beside, values = self.losses(outputs, labels)
        return whole + beside, [whole.detach(), *values]

    @property
    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        return {"head": self.head_optimizer}

    def buffered(self) -> Sequence[nn.Module]:
        return [self.head.margin]

    def keep(self) -> None:
        super().keep()
        self.losses.keep()

    def restore(self, skip: Tensor) -> None:
        super().restore(skip)
        self.losses.restore(skip)

    def reconfigure(self, values: Mapping[str, Value], *, changed: Collection[str], settled: bool) -> None:
        super().reconfigure(values, changed=changed, settled=settled)
        reconfigure(self.head, self._margin_of, values, changed=changed, settled=settled)

    def watch(self, registry: Registry, observer: CollectiveObserver) -> HeadMetrics:
        return HeadMetrics(registry, self.head, observer=observer)

    @property
    def worlds(self) -> Sequence[World]:
        return self.losses.worlds

    def records(self, embeddings: Tensor, labels: Tensor) -> Iterator[tuple[str, dict[str, Any]]]:
        yield "angles", angle_record(measure_angles(self.head, embeddings, labels), self.head.world)

    def centres_finite(self) -> Callable[[], bool]:
        return partial(self.head.are_finite, self.head.last_rows)

    @property
    def hint(self) -> str:
        if self.head.margin.reweights_negatives:
            return " (so it is where the margin's negatives() exceeds its logit_bound)"
        return ""

    @property
    def taking_part(self) -> int:
        return len(self.head.last_sample)

    def tensors(self) -> Tensors:
        replicated = {f"margin/{name}": t for name, t in self.head.margin.state_dict().items()}
        shared = self.head_optimizer.shared_state
        replicated |= {f"head_optimizer/{k}": v for k, v in shared.items() if isinstance(v, Tensor)}
        sharded = {name: parameter.detach() for name, parameter in self.head.named_parameters(recurse=False)}
        sharded |= {f"optimizer/{name}": t for name, t in self.head_optimizer.row_state.items()}
        sharded |= {f"losses/{name}": t for name, t in self.losses.sharded().items()}
        return Tensors(sharded, replicated, {})

    def values(self) -> dict[str, Any]:
        shared = self.head_optimizer.shared_state
        return {
            "head_step": self.head.step,
            "head_optimizer": {k: v for k, v in shared.items() if not isinstance(v, Tensor)},
        }

    def restore_state(
        self, values: Mapping[str, Any], replicated: Mapping[str, Mapping[str, Tensor]]
    ) -> None:
        self.head.margin.load_state_dict(replicated.get("margin", {}))
        shared = {**values["head_optimizer"], **replicated.get("head_optimizer", {})}
        _check_owed(shared, self.head_optimizer.row_state)
        self.head_optimizer.load_shared_state(shared)
        self.head.step = count(values, "head_step")


def _check_owed(shared: Mapping[str, Any], row_state: Mapping[str, Tensor]) -> None:
    """ValueError where the rows' own steps are not in the table of what is owed since then, see RowSGD."""
    steps = row_state.get("row_step")
    if steps is not None and len(steps):
        start = count(shared, "owed_from")
        if int(steps.min()) < start or int(steps.max()) >= start + len(shared["owed"]):
            raise ValueError(f"its rows owe steps that are not from {start} on")
