"""The loss of a step over its micro-batches: the head's, and the weighted ones beside it."""

import torch
from torch import Tensor

from partialfc.training.run_state import RunState


class StepLoss:
    """What a step trains on, as it is summed over the step's micro-batches.

    total: the mean of the micro-batches' losses, a scalar without gradient. terms [M]: the same of the head's
    loss and of each beside it, without their weights, in the order of `losses.terms`.
    """

    def __init__(self, state: RunState, *, micro_batches: int) -> None:
        self._state = state
        self._micro_batches = micro_batches
        self.total = torch.zeros((), dtype=state.head.math_dtype, device=state.device)
        self.terms = self.total.new_zeros(len(state.losses.terms))

    def part(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """A micro-batch's part of the loss, a scalar, from embeddings [B, D] and labels [B]; collective."""
        whole = self._state.head(embeddings, labels)
        if len(self._state.losses):
            beside, values = self._state.losses(embeddings, labels)
            self.terms += torch.stack([whole.detach(), *values]).to(self.terms.dtype) / self._micro_batches
            whole = whole + beside
        part: Tensor = whole / self._micro_batches
        self.total += part.detach()
        return part

    def by_name(self) -> dict[str, Tensor]:
        """The terms, each a scalar, by name."""
        return dict(zip(self._state.losses.terms, self.terms, strict=True))
