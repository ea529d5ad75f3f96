"""What every margin is, and what the families of margins share.

The head asks a margin for the target's logit of N samples and lets autograd find the derivative, where
it costs nothing. The hot loop over negatives knows margins only through `Margin.negatives`.
"""

import torch
from torch import Tensor, nn

from partialfc.head.arguments import above

STRAIGHT_THROUGH = "straight_through"
EXACT = "exact"


class Margin(nn.Module):
    """What a margin may define; only `target` is required.

    A subclass may keep state (running averages) in buffers; `update` sees the statistics of the global
    batch, which are equal on every rank, so the state stays equal on every rank.
    """

    def __init__(self, *, scale: float) -> None:
        super().__init__()
        self.scale = above("scale", scale, 0.0)

    @property
    def logit_bound(self) -> float:
        """No logit exceeds this, so the softmax needs no running maximum."""
        return self.scale

    def update(self, cos: Tensor, norm: Tensor) -> None:
        """Before a training step's logits: move the state by the global target cos [N] and norm [N]."""

    def target(self, cos: Tensor, norm: Tensor) -> Tensor:
        """Target cos [N] and embedding norm [N] -> target logit [N]."""
        raise NotImplementedError

    def negatives(self, cos: Tensor, target_cos: Tensor) -> Tensor:
        """Negative cos [N, k] and target cos [N] -> negative logits [N, k], element by element."""
        return self.scale * cos

    def regulariser(self, norm: Tensor) -> Tensor | None:
        """Embedding norm [N] -> a loss term [N] that is added to the samples' losses, or None."""
        return None

    @property
    def reweights_negatives(self) -> bool:
        return type(self).negatives is not Margin.negatives


def sine(cos: Tensor) -> Tensor:
    """sin(theta) >= 0 of cos(theta) in [-1, 1], with derivative 0 instead of infinity at +-1."""
    square = (1.0 - cos) * (1.0 + cos)
    inside = square > 0.0
    return torch.where(inside, torch.where(inside, square, 1.0).sqrt(), 0.0)
