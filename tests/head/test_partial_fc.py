"""The head against the plain float64 reference: same loss, same gradients, at every world size."""

import pytest
import torch

import partialfc
from tests.head import reference
from tests.head.cases import MARGINS, TOLERANCE, WORLDS, Case, build, check, even, run_case


@pytest.mark.parametrize("world_size", WORLDS)
@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("sample_rate", [1.0, 0.3, 0.05])
def test_loss_and_gradients_match_the_dense_reference(run_ranks, world_size, margin, sample_rate):
    case = Case(even(world_size), num_classes=50, margin=margin, sample_rate=sample_rate)
    check(case, run_ranks(run_case, world_size, case))


CORNERS = {
    "uneven batches": (3, Case([7, 1, 4])),
    "a rank without samples": (3, Case([5, 0, 6])),
    "fewer classes than ranks": (4, Case([3, 3, 3, 3], num_classes=3)),
    "one class": (2, Case([2, 2], num_classes=1, labels=[0, 0, 0, 0])),
    "two classes, empty shards": (4, Case([2, 2, 2, 2], num_classes=2)),
    "ignored samples": (2, Case([4, 3], labels=[5, -1, 49, -1, -1, 0, 30])),
    "one rank ignores all": (2, Case([3, 3], labels=[-1, -1, -1, 4, 5, 6])),
    "duplicates": (2, Case([4, 4], labels=[7, 7, 7, 40, 7, 40, 40, 7])),
    "a batch of one": (1, Case([1])),
    "a global batch of one": (3, Case([0, 1, 0], labels=[31])),
    "shards without a positive": (3, Case([4, 4, 4], labels=[0, 1, 2] * 4, sample_rate=0.3)),
    "more positives than sampled": (
        2,
        Case([16, 16], num_classes=60, sample_rate=0.05, labels=list(range(32))),
    ),
    "a large class count": (2, Case([8, 8], num_classes=20_001, sample_rate=0.1)),
}


@pytest.mark.parametrize("corner", CORNERS)
def test_corner_cases_match_the_dense_reference(run_ranks, corner):
    world_size, case = CORNERS[corner]
    check(case, run_ranks(run_case, world_size, case))


@pytest.mark.parametrize("world_size", [1, 3])
@pytest.mark.parametrize("sample_rate", [1.0, 0.3])
def test_a_batch_without_valid_samples_is_zero(run_ranks, world_size, sample_rate):
    case = Case([2] * world_size, labels=[-1] * 2 * world_size, sample_rate=sample_rate)
    for result in run_ranks(run_case, world_size, case):
        assert result["loss"] == 0.0
        assert torch.count_nonzero(result["gradient"]) == 0
        assert torch.isfinite(result["weight"]).all()


def run_eval(case: Case) -> float:
    head = build(case).eval()
    embeddings, labels = case.batch()
    mine = case.own()
    with torch.no_grad():
        loss = head(embeddings[mine], labels[mine])
    assert head.step == 0
    return loss.item()


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_eval_mode_uses_every_class(run_ranks, world_size):
    case = Case(even(world_size), sample_rate=0.1)
    _, arguments, margin = MARGINS[case.margin]
    embeddings, labels = case.batch()
    expected = reference.dense_loss(
        embeddings, case.weight(), labels, margin=margin, scale=arguments["scale"]
    )
    for loss in run_ranks(run_eval, world_size, case):
        assert loss == pytest.approx(expected.item(), abs=TOLERANCE)


def test_gradient_of_a_scaled_loss_scales_both_sides():
    case = Case([8])
    embeddings, labels = case.batch()
    moved, gradients = [], []
    for factor in (1.0, 4.0):
        head = build(case, **case.extra)
        optimizer = partialfc.RowSGD(head, lr=1.0)
        x = embeddings.clone().requires_grad_()
        (head(x, labels) * factor).backward()
        optimizer.step()
        moved.append((head.weight.detach() - case.weight()) / factor)
        gradients.append(x.grad / factor)
    torch.testing.assert_close(moved[0], moved[1], atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-12, rtol=1e-12)


def test_frozen_centres_and_frozen_embeddings():
    case = Case([8])
    embeddings, labels = case.batch()
    head = build(case, **case.extra)
    optimizer = partialfc.RowSGD(head, lr=1.0)
    head(embeddings, labels).backward()  # a frozen backbone: only the centres learn
    optimizer.step()
    assert not torch.equal(head.weight.detach(), case.weight())
    head = build(case, **case.extra)
    head.weight.requires_grad_(False)
    x = embeddings.clone().requires_grad_()
    head(x, labels).backward()  # frozen centres need no optimizer
    assert x.grad is not None


def run_ten_steps(case: Case) -> list[float]:
    head = build(case, **case.extra)
    optimizer = partialfc.RowSGD(head, lr=0.1, momentum=0.9, weight_decay=5e-4)
    losses = []
    for step in range(10):
        embeddings, labels = Case(case.sizes, num_classes=case.num_classes, seed=step).batch()
        mine = case.own()
        loss = head(embeddings[mine].requires_grad_(), labels[mine])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_runs_repeat_bit_for_bit(run_ranks):
    case = Case([6, 6], num_classes=300, sample_rate=0.2)
    first, second = run_ranks(run_ten_steps, 2, case), run_ranks(run_ten_steps, 2, case)
    assert first == second
    assert first[0] == first[1]


@pytest.mark.parametrize("sample_rate", [1.0, 0.2])
def test_the_world_size_changes_only_rounding(run_ranks, sample_rate):
    """A run from scratch is the same at any world size: initial centres, and the sample of each step."""
    cases = {w: Case(even(w), num_classes=301, sample_rate=sample_rate) for w in WORLDS}
    losses = {w: run_ranks(run_ten_steps, w, case)[0] for w, case in cases.items()}
    for world_size in WORLDS[1:]:
        assert losses[world_size] == pytest.approx(losses[1], abs=1e-10)
