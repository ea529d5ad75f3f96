"""Fused linear cross-entropies, torch's own and Liger's, as subjects of a measurement.

They are a softmax over all classes without a margin: centres and embeddings are normalised and the logits
scaled, as ours are, and the centres get a dense gradient, which torch.optim.SGD applies.
"""

from importlib.util import find_spec
from typing import Any

import torch
from groups import Build
from subject import HeadSubject
from torch import Tensor, nn
from torch.nn import functional
from work import LEARNING_RATE, MOMENTUM, SCALE, WEIGHT_DECAY


class Fused(HeadSubject):
    def build(self) -> None:
        work = self.work
        assert work.processes == 1
        assert work.sample_rate == 1.0
        self.weight = nn.Parameter(torch.empty(work.classes, work.embedding, device=self.device))
        nn.init.normal_(self.weight, std=0.01)
        self.cross_entropy = self.build_loss()
        self.optimizer = torch.optim.SGD(
            [self.weight], lr=LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
        )

    def build_loss(self) -> Any:
        raise NotImplementedError

    def state(self) -> list[Tensor]:
        kept = self.optimizer.state[self.weight].values()
        return [self.weight.detach(), *(value for value in kept if isinstance(value, Tensor))]

    def loss(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        rows = functional.normalize(self.weight).to(self.work.compute)
        scaled = (SCALE * functional.normalize(embeddings)).to(self.work.compute)
        loss: Tensor = self.cross_entropy(rows, scaled, labels.to(self.device))
        return loss


class TorchFused(Fused):
    NAME = "torch linear_cross_entropy"

    def build_loss(self) -> Any:
        options = torch.nn.LinearCrossEntropyOptions()

        def loss(rows: Tensor, scaled: Tensor, labels: Tensor) -> Tensor:
            return functional.linear_cross_entropy(scaled, rows, labels, options=options)

        return loss


class LigerFused(Fused):
    NAME = "Liger fused_linear_cross_entropy"

    def build_loss(self) -> Any:
        from liger_kernel.transformers.fused_linear_cross_entropy import LigerFusedLinearCrossEntropyLoss

        return LigerFusedLinearCrossEntropyLoss()


def installed() -> list[tuple[str, Build]]:
    """Those that are here, by name."""
    found: list[tuple[str, Build]] = []
    if hasattr(torch.nn, "LinearCrossEntropyOptions"):
        found.append((TorchFused.NAME, TorchFused))
    if find_spec("liger_kernel") and find_spec("triton"):
        found.append((LigerFused.NAME, LigerFused))
    return found


def missing() -> list[str]:
    """Those that are not, and why."""
    reasons = []
    if not hasattr(torch.nn, "LinearCrossEntropyOptions"):
        reasons.append(f"{TorchFused.NAME}: torch {torch.__version__} has none")
    for package in ("liger_kernel", "triton"):
        if not find_spec(package):
            reasons.append(f"{LigerFused.NAME}: {package} is not installed")
            break
    return reasons
