"""Several batches wait for one step of the optimizer: their gradients add up."""

from typing import Any

import pytest
import torch

import partialfc
from tests.head import reference
from tests.head.cases import MARGINS, TOLERANCE, Case, build, even


def run_accumulation(cases: list[Case], lr: float) -> dict[str, Any]:
    """Several micro-batches, one step."""
    head = build(cases[0])
    optimizer = partialfc.RowSGD(head, lr=lr, unsampled="frozen")
    losses, participating = [], []
    for case in cases:
        embeddings, labels = case.batch()
        mine = case.own()
        loss = head(embeddings[mine].requires_grad_(), labels[mine]) / len(cases)
        loss.backward()
        losses.append(loss.item())
        participating.append(head.last_sample + head.shard.start)
    optimizer.step()
    return {"losses": losses, "participating": participating, "weight": head.weight.detach()}


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("sample_rate", [1.0, 0.2])
def test_accumulated_batches_match_the_sum_of_their_gradients(run_ranks, world_size, sample_rate):
    cases = [Case(even(world_size, 9 + i), num_classes=40, seed=i, sample_rate=sample_rate) for i in range(3)]
    results = run_ranks(run_accumulation, world_size, cases, 1.0)
    _, arguments, margin = MARGINS["arcface"]
    weight = cases[0].weight().requires_grad_()
    for i, case in enumerate(cases):
        embeddings, labels = case.batch()
        participating = torch.cat([result["participating"][i] for result in results])
        loss = reference.dense_loss(
            embeddings, weight, labels, margin=margin, scale=arguments["scale"], participating=participating
        )
        (loss / len(cases)).backward()
        assert results[0]["losses"][i] == pytest.approx(loss.item() / len(cases), abs=TOLERANCE)
    moved = torch.cat([result["weight"] for result in results])
    # Each case has its own seed for the batch, but the head's seed is the first one's.
    torch.testing.assert_close(moved, weight.detach() - weight.grad, atol=1e-9, rtol=0)
