"""The class pool again on one process: a dictionary of features, dense logits, autograd. Slow and obvious."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

import partialfc
from tests.head.margins.dense import Dense


class ReferencePool:
    """Class -> its last k features, the class that was written longest ago first."""

    def __init__(self, size: int, margin: partialfc.Margin, *, hard_negatives: int, weight: float) -> None:
        self.size, self.margin = size, margin
        self.hard_negatives, self.weight = hard_negatives, weight
        self.features: OrderedDict[int, list[Tensor]] = OrderedDict()
        self._turn: dict[int, int] = {}
        self.step = 0

    def write(self, features: Tensor, labels: Sequence[int]) -> None:
        last = {label: row for row, label in zip(features, labels, strict=True) if label >= 0}
        in_order = [
            label for place, label in enumerate(labels) if label >= 0 and label not in labels[place + 1 :]
        ]
        new = [label for label in in_order if label not in self.features]
        for label in in_order:
            if label in self.features:
                self.features.move_to_end(label)
                self.features[label][self._turn[label]] = last[label]
                self._turn[label] = (self._turn[label] + 1) % self.margin.sub_centers
        old = [label for label in self.features if label not in in_order]
        for label in old[: max(0, len(self.features) + len(new) - self.size)]:
            del self.features[label]
        for label in new:
            self.features[label], self._turn[label] = [last[label]] * self.margin.sub_centers, 0
        for label in in_order:
            self.features.move_to_end(label)

    def loss(self, embeddings: Tensor, labels: Sequence[int]) -> Tensor:
        """Embeddings [N, D], labels [N], -1 for a sample to ignore; in training mode."""
        classes = list(self.features)
        inside = [n for n, label in enumerate(labels) if label in self.features]
        outside = [n for n, label in enumerate(labels) if label >= 0 and label not in self.features]
        loss = (embeddings * 0).sum()
        if inside:
            loss = loss + self._classified(embeddings[inside], [classes.index(labels[n]) for n in inside])
        if outside and classes:
            rows = torch.stack([torch.stack(self.features[label]) for label in classes])  # [F, k, D]
            cos = (F.normalize(rows, dim=2) @ F.normalize(embeddings[outside]).T).amax(dim=1)  # [F, n]
            nearest = cos.sort(dim=0, descending=True).values[: self.hard_negatives]
            loss = loss + self.weight * nearest.clamp_min(0).mean()
        self.step += 1
        return loss

    def _classified(self, embeddings: Tensor, columns: list[int]) -> Tensor:
        rows = torch.stack([torch.stack(features) for features in self.features.values()])  # [F, k, D]
        target = torch.tensor(columns)
        margin: partialfc.Margin = self.margin
        if isinstance(margin, partialfc.SubCenter):
            assert margin.base.normalises_centres
            cos = F.normalize(embeddings) @ F.normalize(rows, dim=2).transpose(1, 2)  # [F, n, k]
            cos = cos.amax(dim=2).T
            own = cos[torch.arange(len(columns)), target]
            logits = margin.scale * cos
            samples = partialfc.Samples(own, embeddings.norm(dim=1))
            logits = logits.index_put((torch.arange(len(columns)), target), margin.base.target(samples))
            return F.cross_entropy(logits, target)
        dense = Dense(margin, rows[:, 0], torch.zeros(len(rows), dtype=rows.dtype))
        return dense.loss(embeddings, target, torch.arange(len(rows)), self.step)
