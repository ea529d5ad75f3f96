"""The losses of distillation as loops over float64 scalars, on one process with the whole batch."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

ZERO = torch.zeros((), dtype=torch.float64)
Row = Sequence[Tensor]


def angular(student: Row, teacher: Sequence[float]) -> Tensor:
    """|| x / ||x|| - t / ||t|| ||^2: VarGFaceNet (arXiv:1910.04985), a sample's term of equation 5."""
    length = torch.sqrt(sum((a * a for a in student), ZERO))
    other = math.sqrt(sum(b * b for b in teacher))
    return sum(((a / length - b / other) ** 2 for a, b in zip(student, teacher, strict=True)), ZERO)


def features(student: Row, teacher: Sequence[float]) -> Tensor:
    """|| x - t ||^2."""
    return sum(((a - b) ** 2 for a, b in zip(student, teacher, strict=True)), ZERO)


def value_and_gradient(term, student: Tensor, teacher: Tensor, labels: Tensor) -> tuple[float, Tensor]:
    """The mean of the valid samples' terms, and its gradient by the student's embeddings [N, D]."""
    x = student.detach().double().requires_grad_()
    rows = zip(x.unbind(), teacher.double().tolist(), labels.tolist(), strict=True)
    terms = [term(own.unbind(), other) for own, other, label in rows if label != -1]
    value = sum(terms, ZERO) / max(1, len(terms))
    if not value.requires_grad:
        return 0.0, torch.zeros_like(x)
    (gradient,) = torch.autograd.grad(value, x)
    return value.item(), gradient
