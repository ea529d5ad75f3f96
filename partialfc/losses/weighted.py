"""Several losses beside the head's, each with its weight."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from partialfc.distributed.world import World
from partialfc.losses.batch_loss import BatchLoss
from partialfc.losses.center import CenterLoss


class WeightedLosses(nn.Module):
    """Losses by name. `weights` is a plain dict by the same names, which may be changed between steps.

    A loss of weight 0 is computed and told all the same, so it can be watched, but no part of the sum.
    """

    def __init__(self, losses: Mapping[str, BatchLoss], weights: Mapping[str, float]) -> None:
        super().__init__()
        self.losses = nn.ModuleDict(dict(losses))
        self.weights = dict(weights)

    def __len__(self) -> int:
        return len(self.losses)

    @property
    def worlds(self) -> list[World]:
        """Those on which the losses call collectives."""
        return [loss.world for loss in self.losses.values() if isinstance(loss, BatchLoss)]

    @property
    def terms(self) -> tuple[str, ...]:
        """What the head's loss and these are called; none where the head's is alone."""
        return ("head", *self.weights) if self.weights else ()

    def forward(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The weighted sum, a scalar with gradient, and each loss's value without its weight; collective."""
        total = torch.zeros((), dtype=torch.float32, device=embeddings.device)
        values = []
        for name, loss in self.losses.items():
            value = loss(embeddings, labels)
            values.append(value.detach())
            if self.weights[name] != 0:
                total = total + self.weights[name] * value
        return total, values

    def sharded(self) -> dict[str, Tensor]:
        """Every tensor with a row for each class of this rank's shard, by name: for checkpoints."""
        centred = {name: loss for name, loss in self.losses.items() if isinstance(loss, CenterLoss)}
        return {f"{name}/centres": loss.centres for name, loss in centred.items() if loss.centres is not None}

    def keep(self) -> None:
        """Note what the coming step moves, so that `restore` can undo it."""
        for loss in self.losses.values():
            if isinstance(loss, CenterLoss):
                loss.keep()

    def restore(self, where: Tensor | None = None) -> None:
        """Undo what has moved since `keep`; if `where` [] is 0, nothing."""
        for loss in self.losses.values():
            if isinstance(loss, CenterLoss):
                loss.restore(where)
