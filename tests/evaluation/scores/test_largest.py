"""The k-th largest of what ranks have is what a sort of all gives."""

import numpy as np
import pytest
import torch

from partialfc.distributed import World
from partialfc.evaluation.scores.largest import Largest, kth_largest

VALUES = np.array([3.5, -2.0, 0.0, -0.0, 1e-30, -1e30, np.inf, -np.inf, 3.5, 7.25, -1e-300, 2.0])


def of_ranks(dtype: torch.dtype, shares: list[list[int]]) -> list[float]:
    world = World.of()
    own = torch.tensor(VALUES[shares[world.rank]], dtype=dtype)
    return kth_largest(own, range(1, 1 + len(VALUES)), world)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "shares", [[list(range(12))], [[], list(range(12))], [[0, 5], [11, 1, 2, 3], [4, 6, 7, 8, 9, 10]]]
)
def test_as_a_sort_of_all(run_ranks, shares, dtype):
    expected = np.sort(VALUES.astype(str(dtype).removeprefix("torch.")))[::-1].tolist()
    for found in run_ranks(of_ranks, len(shares), dtype, shares):
        assert found == expected


@pytest.mark.parametrize("count", [1, 5, 60, 100])
def test_a_bounded_buffer_keeps_the_largest(count):
    scores = torch.from_numpy(np.random.default_rng(0).integers(0, 9, (10, 8))).float()
    scores[2, 3] = -torch.inf
    largest = Largest(count, scores, spare=3)
    for row in range(0, 10, 3):
        largest.add_tile(scores[row : row + 3], row, 0, 8)
    values, whose = largest.falling()
    expected = scores.flatten().sort(descending=True).values[: min(count, 79)]
    assert values.tolist() == expected.tolist()
    assert scores.flatten()[whose].tolist() == values.tolist()
    assert len(set(whose.tolist())) == len(whose)
