"""Uncertainty on a frozen backbone, trained by the likelihood of genuine pairs: there is no head."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from partialfc.checkpoint.tensors import Tensors
from partialfc.training.objectives.objective import Objective, Outputs
from partialfc.uncertainty import (
    MutualLikelihoodLoss,
    ProbabilisticEmbedding,
    likelihood_scores,
    split,
)

PART = "uncertainty"  # of the names of its tensors in a checkpoint; deploy reads them


class ProbabilisticObjective(Objective):
    """The mean of -s over the genuine pairs of a batch, on what the network's two layers say of sigma."""

    network: ProbabilisticEmbedding

    def __init__(self, network: ProbabilisticEmbedding, embedding_size: int) -> None:
        super().__init__(network, network.backbone)
        self._loss = MutualLikelihoodLoss(embedding_size)
        self.math_dtype = network.uncertainty.fc1.weight.dtype

    def loss(self, images: Tensor, outputs: Outputs, labels: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        whole: Tensor = self._loss(outputs, labels)
        return whole, []

    def embeddings(self, outputs: Outputs) -> Tensor:
        mean, _ = split(outputs)
        return mean

    @property
    def verified(self) -> nn.Module:
        return self.network

    @property
    def matching(self) -> Mapping[str, Any]:
        return {"size": self._loss.embedding_size, "scores_of": likelihood_scores, "score": "mls"}

    def tensors(self) -> Tensors:
        state = self.network.uncertainty.state_dict()
        return Tensors({}, {f"{PART}/{name}": tensor for name, tensor in state.items()}, {})

    def restore_state(
        self, values: Mapping[str, Any], replicated: Mapping[str, Mapping[str, Tensor]]
    ) -> None:
        self.network.uncertainty.load_state_dict(replicated[PART])
