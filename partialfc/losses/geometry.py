"""Distances between embeddings, with derivatives that are finite everywhere."""

import math

import torch
from torch import Tensor

SHORTEST = 1e-12  # a norm up to this has no direction
ROUNDING = 16.0  # in units of the dtype's own: below that, a distance's square is rounding error


def unit(x: Tensor) -> Tensor:
    """x [N, D] -> divided by their norms [N, D]; 0, with derivative 0, where the norm is 0."""
    norm = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    has_direction = norm > SHORTEST
    return torch.where(has_direction, x / torch.where(has_direction, norm, 1.0), 0.0)


def distances(a: Tensor, b: Tensor) -> Tensor:
    """a [B, D], b [N, D] -> Euclidean distances [B, N].

    By one matrix product, so a distance that is lost in its rounding is 0; its derivative there is 0.
    """
    size = a.square().sum(1)[:, None] + b.square().sum(1)
    squared = size - 2 * (a @ b.T)
    is_zero = squared <= ROUNDING * torch.finfo(a.dtype).eps * size
    return torch.where(is_zero, 0.0, torch.where(is_zero, 1.0, squared).sqrt())


def angles(a: Tensor, b: Tensor) -> Tensor:
    """Unit rows a [B, D], b [N, D] -> the angles between them [B, N] in radians, 0 to pi.

    An angle that is 0 or pi but for rounding has the derivative 0.
    """
    cos = a @ b.T
    is_end = 1 - cos.abs() <= ROUNDING * torch.finfo(a.dtype).eps
    end = torch.where(cos > 0, 0.0, math.pi)
    return torch.where(is_end, end, torch.where(is_end, 0.0, cos).acos())
