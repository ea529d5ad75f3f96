"""The loss of genuine pairs against its loop, at every world size."""

import pytest
import torch

from partialfc.distributed import World
from partialfc.uncertainty import MutualLikelihoodLoss
from tests.losses.cases import BATCHES
from tests.uncertainty import reference

D = 3
TOLERANCE = 1e-10


def batch_of(labels):
    generator = torch.Generator().manual_seed(4)
    return torch.randn(len(labels), 2 * D, dtype=torch.float64, generator=generator)


def run_loss(sizes, labels):
    """On each rank: the loss, and the gradient of its own Gaussians as DDP's averaging leaves it."""
    begin = sum(sizes[: World.of().rank])
    mine = slice(begin, begin + sizes[World.of().rank])
    x = batch_of(labels)[mine].clone().requires_grad_()
    value = MutualLikelihoodLoss(D)(x, torch.tensor(labels, dtype=torch.int64)[mine])
    value.backward()
    return value.item(), x.grad / World.of().size


@pytest.mark.parametrize("batch", BATCHES)
def test_value_and_gradient_are_those_of_the_loop(run_ranks, batch):
    sizes, labels = BATCHES[batch]
    x = batch_of(labels).requires_grad_()
    expected = reference.loss(x, labels)
    gradient = torch.zeros_like(x)
    if expected.requires_grad:
        (gradient,) = torch.autograd.grad(expected, x)
    results = run_ranks(run_loss, len(sizes), sizes, labels)
    assert [value for value, _ in results] == pytest.approx([expected.item()] * len(sizes), abs=TOLERANCE)
    assert len({value for value, _ in results}) == 1
    whole = torch.cat([own for _, own in results])
    torch.testing.assert_close(whole, gradient, atol=TOLERANCE, rtol=0)


def test_gradcheck():
    labels = torch.tensor([0, 1, 0, 1, 1, -1, 2])
    x = batch_of(labels).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: MutualLikelihoodLoss(D)(x, labels), x)


def test_variances_come_to_what_the_distances_are():
    """With means that stay, the best common variance of a pair is half of its squared distance."""
    mean = torch.tensor([[0.0, 0.0, 1.0], [0.2, 1.0, 1.5]], dtype=torch.float64)
    log_variance = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_variance], max_iter=200)
    loss = MutualLikelihoodLoss(3)

    def closure():
        optimizer.zero_grad()
        value = loss(torch.cat([mean, log_variance], 1), torch.tensor([0, 0]))
        value.backward()
        return value

    optimizer.step(closure)
    expected = (mean[0] - mean[1]).square()
    torch.testing.assert_close(log_variance.detach().exp().sum(0), expected, rtol=1e-3, atol=1e-6)


def test_embeddings_without_variances_are_refused():
    with pytest.raises(ValueError, match=r"embeddings.shape is \(2, 3\); it must be \[B, 6\]"):
        MutualLikelihoodLoss(3)(torch.zeros(2, 3), torch.tensor([0, 0]))
    with pytest.raises(ValueError, match="embedding_size is 0; it must be a whole number of at least 1"):
        MutualLikelihoodLoss(0)
