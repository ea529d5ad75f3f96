"""Every margin in a head, against autograd on dense logits: losses, gradients, rows and state."""

from typing import Any

import pytest
import torch

import partialfc
from tests.head.cases import Case, even
from tests.head.margins.dense import built, check_batches, run_batches
from tests.head.margins.every import MARGINS, STATEFUL


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("sample_rate", [1.0, 0.3])
@pytest.mark.parametrize("name", MARGINS)
def test_a_head_has_the_dense_loss_gradients_and_state(run_ranks, name, sample_rate, world_size):
    """Two steps: what moves with the first is part of the second."""
    cases = [
        Case(even(world_size), num_classes=30, sample_rate=sample_rate, seed=0, labels=labels)
        for labels in ([3, 3, 9, 0, 29, 14, 7, 7, 21, 2, 9, 11], [0, 29, 28, 5, 6, 7, 8, 8, 8, 10, 21, 20])
    ]
    results = run_ranks(run_batches, world_size, MARGINS[name], cases, True)
    check_batches(MARGINS[name], cases, results, steps_apart=True)


@pytest.mark.parametrize("world_size", [1, 3])
@pytest.mark.parametrize("name", ["curricularface", "mv_softmax", "mv_softmax_adaptive"])
def test_negatives_are_compared_with_the_target_after_its_class_margin(run_ranks, name, world_size):
    margins = {"class_margins": torch.linspace(0.0, 1.2, 30).tolist()}
    cases = [
        Case(even(world_size), num_classes=30, sample_rate=0.3, seed=seed, extra=margins) for seed in range(2)
    ]
    results = run_ranks(run_batches, world_size, MARGINS[name], cases, True)
    check_batches(MARGINS[name], cases, results, steps_apart=True)


@pytest.mark.parametrize("name", MARGINS)
def test_micro_batches_uneven_ranks_and_single_samples(run_ranks, name):
    """A batch of one, a rank without a sample; pass 2 of a batch after the next has moved the state."""
    sizes = ([5, 0, 6], [0, 1, 0], [3, 2, 1])
    cases = [Case(each, num_classes=30, sample_rate=0.3, seed=number) for number, each in enumerate(sizes)]
    results = run_ranks(run_batches, 3, MARGINS[name], cases)
    check_batches(MARGINS[name], cases, results)


@pytest.mark.parametrize("name", MARGINS)
def test_an_empty_batch_moves_nothing(name):
    head = partialfc.PartialFC(16, 30, margin=built(MARGINS[name]))
    partialfc.RowSGD(head, lr=0.1)
    before = {key: value.clone() for key, value in head.margin.state_dict().items()}
    ignored = torch.full((3,), -1)
    loss = head(torch.randn(3, 16, requires_grad=True), ignored)
    assert loss.item() == 0.0
    loss.backward()
    assert all(torch.equal(before[key], value) for key, value in head.margin.state_dict().items())


@pytest.mark.parametrize("name", MARGINS)
def test_only_training_moves_the_state_which_is_saved_with_the_head(name):
    head = partialfc.PartialFC(16, 30, margin=built(MARGINS[name]))
    assert bool(head.margin.state_dict()) == (name in STATEFUL)
    before = {key: value.clone() for key, value in head.margin.state_dict().items()}
    x, y = torch.randn(8, 16, requires_grad=True), torch.arange(8)
    head.eval()(x, y)
    assert all(torch.equal(before[key], value) for key, value in head.margin.state_dict().items())
    partialfc.RowSGD(head, lr=0.1)
    head.train()(x, y)
    other = partialfc.PartialFC(16, 30, margin=built(MARGINS[name]))
    other.load_state_dict(head.state_dict())
    for key, value in other.margin.state_dict().items():
        assert not torch.equal(before[key], value)
        assert torch.equal(head.margin.state_dict()[key], value)


STEPS, CLASSES, SIZE = 80, 12, 8


def learnt(name: str, seed: int = 1) -> dict[str, Any]:
    """A linear layer on well separated classes: the first and the last loss, and the accuracy in the end."""
    torch.manual_seed(seed)
    patterns = torch.randn(CLASSES, 20)
    head = partialfc.PartialFC(SIZE, CLASSES, margin=built(MARGINS[name]), sample_rate=0.5)
    backbone = torch.nn.Linear(20, SIZE)
    optimizer = partialfc.RowSGD(head, lr=0.05, momentum=0.9)
    moving = torch.optim.SGD(backbone.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for _ in range(STEPS):
        labels = torch.randint(CLASSES, (48,))
        loss = head(backbone(patterns[labels] + 0.3 * torch.randn(48, 20)), labels)
        loss.backward()
        for each in (optimizer, moving):
            each.step()
            each.zero_grad()
        losses.append(loss.item())
    labels = torch.arange(CLASSES).repeat(20)
    with torch.no_grad():
        _, nearest = head.eval().top_k(backbone(patterns[labels] + 0.3 * torch.randn(len(labels), 20)), 1)
    return {"losses": losses, "accuracy": (nearest[:, 0] == labels).float().mean().item()}


@pytest.mark.parametrize("name", MARGINS)
def test_a_short_training_converges(name):
    result = learnt(name)
    losses = result["losses"]
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])
    assert result["accuracy"] > 0.95
