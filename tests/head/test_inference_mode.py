"""The head under torch.inference_mode: it is as under no_grad, and training goes on after it."""

import copy

import pytest
import torch

import partialfc
from tests.head.margins.test_base import Reweighting

D, C = 6, 20


class Counting(partialfc.CosFace):
    """A margin with a state that training moves in place."""

    def __init__(self):
        super().__init__(scale=16.0)
        self.register_buffer("mean", torch.zeros(()))

    def update(self, samples):
        self.mean.mul_(0.9).add_(samples.cos.mean(), alpha=0.1)


MARGINS = {"ArcFace": partialfc.ArcFace, "of negatives": Reweighting, "with a state": Counting}


def batch(seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(8, D, generator=generator).to(dtype), torch.randint(0, C, (8,), generator=generator)


def run(mode, margin, dtype, training):
    """The losses under the mode, one of a training step after each, and the centres that this leads to."""
    head = partialfc.PartialFC(
        D, C, margin=MARGINS[margin](), sample_rate=0.5, class_weights=torch.arange(1.0, C + 1)
    )
    optimizer = partialfc.RowSGD(head, lr=0.1, momentum=0.9)
    losses = []
    for seed in range(3):
        head.train(training)
        with mode():
            x, y = batch(seed, dtype)
            loss = head(x, y, weights=torch.ones(8))
            assert not loss.requires_grad
            head.top_k(x, 3)
            optimizer.flush()
            copy.deepcopy(head).state_dict()
        head.train()
        again = head(batch(seed)[0].requires_grad_(), y.clone())
        again.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses += [loss.item(), again.item(), head.last_norm.mean().item()]
    return losses, head.state_dict()["weight"], head.step


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("margin", MARGINS)
def test_inference_mode_is_as_no_grad(margin, dtype, training):
    expected = run(torch.no_grad, margin, dtype, training)
    losses, weight, step = run(torch.inference_mode, margin, dtype, training)
    assert losses == expected[0]
    assert torch.equal(weight, expected[1])
    assert step == expected[2]


def run_in_inference_mode():
    head = partialfc.PartialFC(D, C, margin=partialfc.ArcFace(), seed=1).eval()
    losses = []
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            losses.append(head(*batch(torch.distributed.get_rank())).item())
    return losses


def test_inference_mode_is_as_no_grad_on_several_ranks(run_ranks):
    (first, second), (third, fourth) = run_ranks(run_in_inference_mode, 2)
    assert first == second == third == fourth
