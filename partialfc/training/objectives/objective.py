"""What the training loop asks of whatever a run trains."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from partialfc.checkpoint.tensors import Tensors
from partialfc.distributed.world import World
from partialfc.head.partial_fc import PartialFC
from partialfc.metrics.embeddings import EmbeddingMetrics
from partialfc.metrics.registry import Registry
from partialfc.metrics.watch import CollectiveObserver, Watch
from partialfc.training.kept_buffers import KeptBuffers
from partialfc.training.stages import Value

Outputs = Any  # what a network returns, whose form only its objective knows


class Objective:
    """From a batch to its loss, with all that is trained or kept for it.

    This class is what an objective without a head is; a subclass gives `loss`, and changes what differs.

    network: what the loop calls with images [B, C, H, W], in DistributedDataParallel where W > 1. Its
    parameters that need gradients are moved by the run's optimizer. backbone: the part of it that embeds, or
    the network itself: what checkpoints and exports call the backbone.
    """

    head: PartialFC | None = None
    terms: tuple[str, ...] = ()  # names of the parts of the loss, the main one's first; none: it has one part
    math_dtype: torch.dtype = torch.float32  # in which a step's loss is summed over its micro-batches
    computes: str = "loss"  # what a message calls the main part where it is not finite
    whole_in_evaluation = True  # whether the network uses all its parameters in evaluation mode too

    def __init__(self, network: nn.Module, backbone: nn.Module) -> None:
        self.network = network
        self.backbone = backbone
        self.weights: dict[str, float] = {}  # of the parts of the loss that `stages` may weigh, by name
        self._buffers = KeptBuffers(lambda: [self.network, *self.buffered()])
        self._seen: EmbeddingMetrics | None = None

    def loss(self, images: Tensor, outputs: Outputs, labels: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """Of one micro-batch: a scalar with gradient, and the value of each of `terms`. Collective.

        images [B, C, H, W]: as the network got them; labels [B]: on the CPU, -1 for a sample to ignore.
        """
        raise NotImplementedError

    def embeddings(self, outputs: Outputs) -> Tensor:
        """The embeddings [B, D] among what the network returned, for reports."""
        found: Tensor = outputs
        return found

    @property
    def verified(self) -> nn.Module:
        """What images to verify go through."""
        return self.backbone

    @property
    def matching(self) -> Mapping[str, Any]:
        """How `verified` is evaluated otherwise than by cosines: arguments of `VerificationSets.verify`."""
        return {}

    # What a step moves

    @property
    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        """Those besides the network's, by the name that the log gives their learning rate."""
        return {}

    def buffered(self) -> Sequence[nn.Module]:
        """The modules beside the network whose buffers a step moves."""
        return []

    def keep(self) -> None:
        """Before a step: note what it moves besides what optimizers do, so that `restore` can undo it."""
        self._buffers.keep()

    def restore(self, skip: Tensor) -> None:
        """Undo what has moved since `keep`; if skip [] is 0, nothing. Does not wait for the device."""
        self._buffers.restore(skip)

    def stepped(self, skip: Tensor) -> None:
        """After the optimizers: what follows a move, such as an average of weights.

        skip [] is 1.0 where nothing was to move, else 0.0.
        """

    def reconfigure(self, values: Mapping[str, Value], *, changed: Collection[str], settled: bool) -> None:
        """Before a step: take over the settings of `stages`, by key, of which some have changed.

        settled: whether many steps will have the same margin.
        """
        for name in self.weights:
            if (weight := values.get(f"losses.{name}.weight")) is not None:
                self.weights[name] = weight

    # What it tells

    def watch(self, registry: Registry, observer: CollectiveObserver) -> Watch:
        """Count for the metrics from now on. observer: is told of its collectives."""
        self._seen = EmbeddingMetrics(registry)
        return self._seen

    def saw(self, embeddings: Tensor) -> None:
        """Embeddings [B, D] of this rank were trained on: for the metrics of an objective without a head."""
        if self._seen is not None:
            self._seen.saw(embeddings)

    @property
    def worlds(self) -> Sequence[World]:
        """Further worlds on which it calls collectives, which the metrics count."""
        return []

    def records(self, embeddings: Tensor, labels: Tensor) -> Iterator[tuple[str, dict[str, Any]]]:
        """For the run's log, now and then: names of events, and what to note of them. Collective.

        embeddings [B, D], labels [B]: of the last micro-batch.
        """
        return iter(())

    def centres_finite(self) -> Callable[[], bool]:
        """After a step: what tells later whether the centres that took part in it are finite."""
        return lambda: True

    @property
    def hint(self) -> str:
        """What a message adds where the main part of the loss is not finite."""
        return ""

    @property
    def taking_part(self) -> int:
        """How many centres of this rank took part in the last step."""
        return 0

    # Its part of a checkpoint, besides the backbone and the network's optimizer

    def tensors(self) -> Tensors:
        """Its tensors, by name; sharded ones are loaded in place."""
        return Tensors({}, {}, {})

    def values(self) -> dict[str, Any]:
        """What state.json holds of it."""
        return {}

    def restore_state(
        self, values: Mapping[str, Any], replicated: Mapping[str, Mapping[str, Tensor]]
    ) -> None:
        """Become what `values` and `tensors` gave; replicated: tensors by the two parts of "part/name".

        Raises CheckpointError, or ValueError and the like, where they are not what it saves.
        """
