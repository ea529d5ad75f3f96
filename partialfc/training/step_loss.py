"""The loss of a step over its micro-batches."""

import torch
from torch import Tensor

from partialfc.training.objectives.objective import Objective, Outputs


class StepLoss:
    """What a step trains on, as it is summed over the step's micro-batches.

    total: the mean of the micro-batches' losses, a scalar without gradient. terms [M]: the same of each of
    the objective's terms. embeddings: a tensor [B, D] for each micro-batch; labels [B]: of the last one.
    """

    def __init__(self, objective: Objective, device: torch.device, *, micro_batches: int) -> None:
        self._objective = objective
        self._micro_batches = micro_batches
        self.total = torch.zeros((), dtype=objective.math_dtype, device=device)
        self.terms = self.total.new_zeros(len(objective.terms))
        self.embeddings: list[Tensor] = []
        self.labels = torch.empty(0, dtype=torch.int64)

    def part(self, images: Tensor, outputs: Outputs, labels: Tensor) -> Tensor:
        """A micro-batch's part of the loss, a scalar; arguments as of `Objective.loss`. Collective."""
        whole, values = self._objective.loss(images, outputs, labels)
        if values:
            self.terms += torch.stack([*values]).to(self.terms.dtype) / self._micro_batches
        part = whole / self._micro_batches
        self.total += part.detach()
        self.embeddings.append(self._objective.embeddings(outputs).detach())
        self.labels = labels
        return part

    def by_name(self) -> dict[str, Tensor]:
        """The terms, each a scalar, by name."""
        return dict(zip(self._objective.terms, self.terms, strict=True))
