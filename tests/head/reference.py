"""The plain float64 reference of the head: dense logits, F.cross_entropy, autograd. Slow and obvious."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

MarginFunction = Callable[[Tensor], Tensor]


def combined(m1: float, m2: float, m3: float, beyond_pi: str = "hard") -> MarginFunction:
    """cos -> cos(m1·theta + m2) - m3 by arccos, with the documented continuations past pi."""

    def function(cos: Tensor) -> Tensor:
        theta = torch.acos(cos)
        angle = m1 * theta + m2
        cos_at_pi = math.cos((math.pi - m2) / m1)
        if beyond_pi == "hard":
            offset = max(m2 * math.sin(m2), 1 + cos_at_pi)
            value = torch.where(angle < math.pi, torch.cos(angle), cos - offset)
        else:
            value = torch.where((angle < math.pi) & (cos > 0), torch.cos(angle), cos)
        return value - m3

    return function


def dense_loss(
    embeddings: Tensor,
    weight: Tensor,
    labels: Tensor,
    *,
    margin: MarginFunction,
    scale: float,
    participating: Tensor | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Mean cross entropy over the valid samples, the softmax restricted to the participating classes.

    weights [N]: of the samples in the mean, those of their classes included.
    """
    valid = labels >= 0
    if not valid.any() or (weights is not None and not weights[valid].any()):
        return (embeddings * 0.0).sum() + (weight * 0.0).sum()
    embeddings, labels = embeddings[valid], labels[valid]
    cos = F.normalize(embeddings) @ F.normalize(weight).T
    rows = torch.arange(len(labels))
    logits = cos.clone()
    logits[rows, labels] = margin(cos[rows, labels])
    if participating is not None:
        absent = torch.ones(len(weight), dtype=torch.bool)
        absent[participating] = False
        logits = logits.masked_fill(absent, -math.inf)
    if weights is None:
        return F.cross_entropy(scale * logits, labels)
    losses = F.cross_entropy(scale * logits, labels, reduction="none")
    return (losses * weights[valid]).sum() / weights[valid].sum()
