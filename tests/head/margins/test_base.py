"""A margin that uses the whole interface, in a head, against autograd on dense logits."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import partialfc
from partialfc import Samples
from partialfc.distributed import World
from tests.head.cases import TOLERANCE, Case, D, even


class Reweighting(partialfc.Margin):
    """A margin that uses the whole interface: hard negatives by a state, norms, a regulariser."""

    def __init__(self) -> None:
        super().__init__(scale=16.0)
        self.register_buffer("average", torch.zeros((), dtype=torch.float64))

    @property
    def logit_bound(self) -> float:
        return 3 * self.scale

    def update(self, samples: Samples) -> None:
        self.average = 0.9 * self.average + 0.1 * samples.cos.mean()

    def target(self, samples: Samples) -> Tensor:
        return self.scale * (samples.cos - 0.1 * samples.norm.log1p() - 0.01 * samples.normal())

    def negatives(self, cos: Tensor, samples: Samples) -> Tensor:
        hard = cos > samples.cos
        return self.scale * torch.where(hard, cos * (self.average + cos) + 0.3 * samples.cos, cos)

    def regulariser(self, samples: Samples) -> Tensor:
        return 0.01 * (samples.norm + 1 / samples.norm) + 0.001 * samples.label


def run_reweighting(cases: list[Case]) -> dict[str, Any]:
    """Micro-batches and one step, with a margin whose state moves between them."""
    world = World.of()
    head = partialfc.PartialFC(
        D,
        cases[0].num_classes,
        margin=Reweighting(),
        sample_rate=cases[0].sample_rate,
        weight_dtype=torch.float64,
        compute_dtype=torch.float64,
    )
    optimizer = partialfc.RowSGD(head, lr=1.0)
    losses, gradients, participating = [], [], []
    for case in cases:
        embeddings, labels = case.batch()
        mine = case.own()
        x = embeddings[mine].requires_grad_()
        loss = head(x, labels[mine])
        loss.backward()
        losses.append(loss.item())
        gradients.append(x.grad / world.size)
        participating.append(head.last_sample + head.shard.start)
    optimizer.step()
    return {
        "losses": losses,
        "gradients": gradients,
        "participating": participating,
        "weight": head.weight.detach(),
        "average": head.state_dict()["margin.average"],
    }


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("sample_rate", [1.0, 0.3])
@pytest.mark.parametrize("micro_batches", [1, 3])
def test_a_margin_may_reweight_negatives_use_norms_and_keep_state(
    run_ranks, world_size, sample_rate, micro_batches
):
    cases = [
        Case(even(world_size), num_classes=30, sample_rate=sample_rate, seed=seed)
        for seed in range(micro_batches)
    ]
    results = run_ranks(run_reweighting, world_size, cases)
    weight = cases[0].weight().requires_grad_()
    margin = Reweighting()
    for i, case in enumerate(cases):
        embeddings, labels = case.batch()
        embeddings.requires_grad_()
        cos = F.normalize(embeddings) @ F.normalize(weight).T
        rows = torch.arange(len(labels))
        target = cos[rows, labels]
        norm = embeddings.norm(dim=1)
        samples = Samples(target, norm, classes=labels.numpy(), seed=0, step=i)
        margin.update(replace(samples, cos=target.detach(), norm=norm.detach()))
        logits = margin.negatives(cos.T, samples).T
        logits = logits.index_put((rows, labels), margin.target(samples))
        absent = torch.ones(len(weight), dtype=torch.bool)
        absent[torch.cat([result["participating"][i] for result in results])] = False
        loss = F.cross_entropy(logits.masked_fill(absent, -torch.inf), labels)
        loss = loss + margin.regulariser(samples).mean()
        loss.backward()
        for result in results:
            assert result["losses"][i] == pytest.approx(loss.item(), abs=TOLERANCE)
        gradient = torch.cat([result["gradients"][i] for result in results])
        torch.testing.assert_close(gradient, embeddings.grad, atol=TOLERANCE, rtol=0)
    for result in results:
        assert result["average"].item() == pytest.approx(margin.average.item(), abs=1e-14)
    moved = torch.cat([result["weight"] for result in results])
    torch.testing.assert_close(moved, weight.detach() - weight.grad, atol=1e-9, rtol=0)
