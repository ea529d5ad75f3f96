"""Probabilistic embeddings again as loops over scalars: slow and obvious.

A Gaussian is a mean [D] and variances [D]; numbers are floats, or float64 scalars that autograd follows.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

Numbers = Sequence[Any]


def mutual_likelihood(mean: Numbers, variance: Numbers, other_mean: Numbers, other_variance: Numbers) -> Any:
    """Shi and Jain 2019, equation 3."""
    total = 0.0
    for a, s, b, t in zip(mean, variance, other_mean, other_variance, strict=True):
        both = torch.as_tensor(s + t, dtype=torch.float64)
        total = total + (a - b) ** 2 / both + both.log()
    return -total / 2 - len(mean) / 2 * math.log(2 * math.pi)


def loss(gaussians: Tensor, labels: Sequence[int]) -> Tensor:
    """The mean of -s over all pairs of one class; gaussians [N, 2D] with log variances."""
    size = gaussians.shape[1] // 2
    rows = [([*row[:size]], [each.exp() for each in row[size:]]) for row in gaussians]
    terms = [
        -mutual_likelihood(*rows[i], *rows[j])
        for i, j in itertools.combinations(range(len(rows)), 2)
        if labels[i] == labels[j] >= 0
    ]
    return sum(terms, torch.zeros((), dtype=torch.float64)) / max(1, len(terms))


def fused_step_by_step(means: Sequence[Numbers], variances: Sequence[Numbers]) -> tuple[list[Any], list[Any]]:
    """One image after the other: the posterior of a Gaussian prior and a Gaussian observation."""
    mean, variance = [*means[0]], [*variances[0]]
    for other_mean, other_variance in zip(means[1:], variances[1:], strict=True):
        for d in range(len(mean)):
            gain = variance[d] / (variance[d] + other_variance[d])
            mean[d] = mean[d] + gain * (other_mean[d] - mean[d])
            variance[d] = (1 - gain) * variance[d]
    return mean, variance


def reject(
    scores: Sequence[float], same: Sequence[bool], quality: Sequence[Sequence[float]], threshold: float
) -> list[tuple[float, float]]:
    """For each quality that a genuine pair has: the share of worse pairs, and the error of the others."""
    pairs = [(min(q), s) for q, s, flag in zip(quality, scores, same, strict=True) if flag]
    points = []
    for bar in sorted({each for each, _ in pairs}):
        kept = [s for each, s in pairs if each >= bar]
        points.append((1 - len(kept) / len(pairs), sum(s <= threshold for s in kept) / len(kept)))
    return points
