"""Every loss again as a loop over scalars, on one process with the whole batch: slow and obvious.

Embeddings [N][D] are lists of float64 scalars, tensors of one number that autograd follows; labels [N] are
class ids, -1 for a sample to ignore.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Rows = Sequence[Sequence[Tensor]]
Loss = Callable[[Rows, Sequence[int]], Tensor]
ZERO = torch.zeros((), dtype=torch.float64)


def norm(x: Sequence[Tensor]) -> Tensor:
    return torch.sqrt(sum((a * a for a in x), ZERO))


def unit(x: Sequence[Tensor]) -> list[Tensor]:
    return [a / norm(x) for a in x]


def distance(x: Sequence[Tensor], y: Sequence[Tensor]) -> Tensor:
    return norm([a - b for a, b in zip(x, y, strict=True)])


def angle(x: Sequence[Tensor], y: Sequence[Tensor]) -> Tensor:
    return torch.acos(sum((a * b for a, b in zip(unit(x), unit(y), strict=True)), ZERO))


def positive_part(value: Tensor) -> Tensor:
    return value if value > 0 else ZERO * value


def mean(terms: Sequence[Tensor]) -> Tensor:
    return sum(terms, ZERO) / len(terms) if terms else ZERO


def valid_of(x: Rows, labels: Sequence[int]) -> list[tuple[Sequence[Tensor], int]]:
    return [(row, label) for row, label in zip(x, labels, strict=True) if label >= 0]


def pairwise(
    measure: Callable[..., Tensor],
    genuine: Callable[[Tensor], Tensor],
    impostor: Callable[[Tensor], Tensor],
    *,
    balanced: bool,
) -> Loss:
    def loss(x: Rows, labels: Sequence[int]) -> Tensor:
        batch = valid_of(x, labels)
        same, other = [], []
        for i in range(len(batch)):
            for j in range(i):
                d = measure(batch[i][0], batch[j][0])
                if batch[i][1] == batch[j][1]:
                    same.append(genuine(d))
                else:
                    other.append(impostor(d))
        return mean(same) + mean(other) if balanced else mean(same + other)

    return loss


def contrastive(margin: float, *, normalise: bool = True, balanced: bool = False) -> Loss:
    measure = (lambda x, y: distance(unit(x), unit(y))) if normalise else distance
    return pairwise(
        measure, lambda d: d * d / 2, lambda d: positive_part(margin - d) ** 2 / 2, balanced=balanced
    )


def angular(margin: float, *, balanced: bool = False) -> Loss:
    return pairwise(
        angle, lambda theta: theta**2, lambda theta: positive_part(margin - theta) ** 2, balanced=balanced
    )


def triplet(mining: str, margin: float, *, normalise: bool = True) -> Loss:
    def measure(x: Sequence[Tensor], y: Sequence[Tensor]) -> Tensor:
        return distance(unit(x), unit(y)) if normalise else distance(x, y)

    def loss(x: Rows, labels: Sequence[int]) -> Tensor:
        batch = valid_of(x, labels)
        terms = []
        for i, (anchor, own) in enumerate(batch):
            positives = [
                measure(anchor, other) for j, (other, label) in enumerate(batch) if j != i and label == own
            ]
            negatives = [measure(anchor, other) for other, label in batch if label != own]
            if not positives or not negatives:
                continue
            if mining == "all":
                every = [positive_part(margin + p - n) for p in positives for n in negatives]
                terms += [term for term in every if term > 0]
            elif mining == "hard":
                terms.append(positive_part(margin + max(positives) - min(negatives)))
            else:
                for p in positives:
                    farther = [n for n in negatives if n > p]
                    terms.append(positive_part(margin + p - (min(farther) if farther else max(negatives))))
        return mean(terms)

    return loss


def centre(centres: Sequence[Sequence[float]], *, normalise: bool = False) -> Loss:
    def loss(x: Rows, labels: Sequence[int]) -> Tensor:
        terms = []
        for row, label in valid_of(x, labels):
            taken = unit(row) if normalise else row
            terms.append(sum(((a - b) ** 2 for a, b in zip(taken, centres[label], strict=True)), ZERO) / 2)
        return mean(terms)

    return loss


def moved_centres(
    centres: Sequence[Sequence[float]], x: Sequence[Sequence[float]], labels: Sequence[int], alpha: float
) -> list[list[float]]:
    """The centres after a batch, Wen et al. 2016, equations 3 and 4: numbers alone."""
    result = []
    for j, own in enumerate(centres):
        samples = [row for row, label in zip(x, labels, strict=True) if label == j]
        delta = [sum(own[d] - row[d] for row in samples) / (1 + len(samples)) for d in range(len(own))]
        result.append([c - alpha * change for c, change in zip(own, delta, strict=True)])
    return result


def unit_rows(rows: Sequence[Sequence[float]]) -> list[list[float]]:
    return [[a / math.sqrt(sum(b * b for b in row)) for a in row] for row in rows]


def value_and_gradient(loss: Loss, embeddings: Tensor, labels: Tensor) -> tuple[float, Tensor]:
    """A loop's value, and its gradient by the embeddings [N, D]."""
    x = embeddings.detach().double().requires_grad_()
    value = loss([[*row.unbind()] for row in x.unbind()], labels.tolist())
    if not value.requires_grad:
        return value.item(), torch.zeros_like(x)
    (gradient,) = torch.autograd.grad(value, x)
    return value.item(), gradient
