"""Embeddings for tests of scores in blocks, and the same figures by plain float64 loops."""

import numpy as np
import torch

from partialfc.distributed import World
from partialfc.evaluation.scores.spread import Spread


def embeddings(count: int, classes: int, *, ties: bool, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """rows [n, 4] and classes [n], -1 among them; ties: cosines are multiples of 1/2, exactly."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(-1, classes, count)
    if ties:
        return generator.choice([-0.5, 0.5], (count, 4)), labels
    centres = generator.normal(size=(classes + 1, 4))
    return centres[labels] + generator.normal(size=(count, 4)), labels


def spread(rows: np.ndarray, labels: np.ndarray, shares: tuple[int, ...], dtype=torch.float64) -> Spread:
    """This rank's share of them: `shares` says how the ranks divide them, such as (0, 2, 1)."""
    world = World.of()
    cuts = np.cumsum((0, *shares[: world.size])) * len(rows) // sum(shares[: world.size])
    own = slice(cuts[world.rank], cuts[world.rank + 1])
    return Spread.of(torch.tensor(rows[own], dtype=dtype), labels[own], world)


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    return float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)))
