"""partialfc.PartialFC and RowSGD as the subject of a measurement."""

from collections.abc import Callable
from typing import Any

import torch
from subject import HeadSubject
from torch import Tensor
from work import LEARNING_RATE, MARGIN, MOMENTUM, SCALE, WEIGHT_DECAY

import partialfc
from partialfc.head.kernels.compiled import trouble

NAME = "partialfc"
MARGINS: dict[str, Callable[[], partialfc.Margin]] = {
    "ArcFace": lambda: partialfc.ArcFace(scale=SCALE, margin=MARGIN),
    "AdaFace": partialfc.AdaFace,
    "CurricularFace": partialfc.CurricularFace,
    "MVSoftmax": lambda: partialfc.MVSoftmax(partialfc.ArcFace(scale=SCALE, margin=MARGIN)),
    "ElasticFace": partialfc.ElasticFace,
    "SphereFace": partialfc.SphereFace,
    "Softmax": partialfc.Softmax,
    "Softmax with a bias": lambda: partialfc.Softmax(bias=True),
    "SubCenter of 3": lambda: partialfc.SubCenter(k=3, base=partialfc.ArcFace(scale=SCALE, margin=MARGIN)),
}


class Ours(HeadSubject):
    optimizer: partialfc.RowSGD

    def build(self) -> None:
        work = self.work
        self.head = partialfc.PartialFC(
            work.embedding,
            work.classes,
            margin=MARGINS[work.margin](),
            sample_rate=work.sample_rate,
            weight_dtype=work.storage,
            compute_dtype=work.compute,
            compile=work.compile,
        ).to(self.device)
        options: dict[str, Any] = {}
        if work.momentum != torch.float32:
            options["momentum_dtype"] = work.momentum
        self.optimizer = partialfc.RowSGD(
            self.head, lr=LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, **options
        )
        self.head.world.traffic.reset()

    def state(self) -> list[Tensor]:
        rows = self.optimizer.row_state.items()
        return [self.head.weight.detach(), *(t for name, t in rows if name.startswith("momentum"))]

    def facts(self) -> dict[str, Any]:
        """And whether its kernels are compiled, a step's collectives, the bytes they moved on all ranks."""
        traffic, steps = self.head.world.traffic, len(self.losses)
        calls = [f"{count // steps} {name}" for name, count in sorted(traffic.calls.items())]
        return {
            **super().facts(),
            "compiled": str(self.head.compiled and trouble() is None),
            "collectives": " + ".join(calls),
            "moved_bytes": traffic.total() // steps,
        }

    def loss(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        loss: Tensor = self.head(embeddings, labels)
        return loss
