"""What a loss costs: its rank's part of the pairs alone, and no triplet by itself."""

import pytest
import torch

import partialfc
from tests.torch_calls import TorchCalls

SIZE = 64
MAKERS = {
    "contrastive": partialfc.ContrastiveLoss,
    "angular": partialfc.AngularContrastiveLoss,
    "all": lambda: partialfc.TripletLoss(mining="all"),
    "hard": lambda: partialfc.TripletLoss(mining="hard"),
    "semihard": lambda: partialfc.TripletLoss(mining="semihard"),
}


def peak(name, samples):
    """The most bytes at once in a step with so many samples on this rank, two classes alone."""
    loss = MAKERS[name]()
    x = torch.randn(samples, SIZE, requires_grad=True)
    with TorchCalls() as calls:
        loss(x, torch.arange(samples) % 2).backward()
    return calls.peak


@pytest.mark.parametrize("name", MAKERS)
def test_memory_is_that_of_the_ranks_own_pairs(run_ranks, name):
    alone = peak(name, 512)
    assert alone < 80 * 512 * 512  # bytes for each pair; the triplets alone would be 512^3 / 4 · 4
    for shared in run_ranks(peak, 4, name, 128):
        assert shared < alone / 2
