"""Sparse gradients, for an optimizer that is not one of ours."""

from typing import Any

import pytest
import torch

from partialfc.distributed import World
from tests.head.cases import Case, build, check, even


def run_sparse(case: Case) -> dict[str, Any]:
    world = World.of()
    head = build(case, sparse_grad=True)
    embeddings, labels = case.batch()
    begin = sum(case.sizes[: world.rank])
    mine = slice(begin, begin + case.sizes[world.rank])
    optimizer = torch.optim.SGD(head.parameters(), lr=1.0)
    x = embeddings[mine].requires_grad_()
    loss = head(x, labels[mine])
    loss.backward()
    gradient = head.weight.grad
    assert gradient.is_sparse
    assert torch.equal(gradient.coalesce().indices()[0], head.last_sample)
    optimizer.step()
    return {
        "loss": loss.item(),
        "gradient": x.grad / world.size,
        "participating": head.last_sample + head.shard.start,
        "weight": head.weight.detach(),
    }


@pytest.mark.parametrize("world_size", [1, 2, 4])
@pytest.mark.parametrize("sample_rate", [1.0, 0.2])
def test_sparse_gradients_serve_any_optimizer(run_ranks, world_size, sample_rate):
    case = Case(even(world_size), num_classes=45, sample_rate=sample_rate)
    check(case, run_ranks(run_sparse, world_size, case))
