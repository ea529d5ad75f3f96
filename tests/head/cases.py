"""Global batches, run on each rank and compared with the plain float64 reference."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

import partialfc
from partialfc.distributed import World
from partialfc.head.initial import normal_rows
from tests.head import reference

D = 16
TOLERANCE = 1e-10
WORLDS = [1, 2, 3, 4]
MARGINS = {
    "softmax": (partialfc.NormalizedSoftmax, {"scale": 30.0}, reference.combined(1, 0, 0)),
    "arcface": (partialfc.ArcFace, {"scale": 64.0, "margin": 0.5}, reference.combined(1, 0.5, 0)),
    "arcface_easy": (
        partialfc.ArcFace,
        {"scale": 64.0, "margin": 0.5, "beyond_pi": "easy"},
        reference.combined(1, 0.5, 0, "easy"),
    ),
    "cosface": (partialfc.CosFace, {"scale": 64.0, "margin": 0.35}, reference.combined(1, 0, 0.35)),
    "combined": (
        partialfc.CombinedMargin,
        {"m1": 1.2, "m2": 0.3, "m3": 0.2, "scale": 32.0},
        reference.combined(1.2, 0.3, 0.2),
    ),
}


@dataclass
class Case:
    """One global batch: each rank's share of it, and the labels (drawn from the seed unless given)."""

    sizes: list[int]
    num_classes: int = 50
    margin: str = "arcface"
    sample_rate: float = 1.0
    seed: int = 0
    labels: list[int] | None = None
    weights: list[float] | None = None
    class_weights: list[float] | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def batch(self) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        n = sum(self.sizes)
        embeddings = torch.randn(n, D, dtype=torch.float64, generator=generator)
        labels = torch.randint(0, self.num_classes, (n,), generator=generator)
        return embeddings, labels if self.labels is None else torch.tensor(self.labels)

    def own(self) -> slice:
        """Which of its samples are this rank's."""
        rank = World.of().rank
        begin = sum(self.sizes[:rank])
        return slice(begin, begin + self.sizes[rank])

    def weights_of_samples(self) -> Tensor | None:
        """[N] those of their classes included."""
        if self.weights is None and self.class_weights is None:
            return None
        of_samples = torch.tensor(self.weights or [1.0] * sum(self.sizes), dtype=torch.float64)
        if self.class_weights is not None:
            of_samples = of_samples * torch.tensor(self.class_weights, dtype=torch.float64)[self.batch()[1]]
        return of_samples

    def weight(self) -> Tensor:
        return normal_rows(0, self.num_classes, D, seed=self.seed, dtype=torch.float64)


CORNERS = {  # of what goes over all centres: how many ranks, and their batch
    "uneven batches, one of them empty": (3, Case([5, 0, 2])),
    "no embedding at all": (2, Case([0, 0])),
    "empty shards": (4, Case([2, 2, 2, 2], num_classes=2)),
    "one class": (2, Case([1, 3], num_classes=1)),
}


def even(world_size: int, total: int = 12) -> list[int]:
    return [total // world_size + (rank < total % world_size) for rank in range(world_size)]


def build(case: Case, **options: Any) -> partialfc.PartialFC:
    make, arguments, _ = MARGINS[case.margin]
    return partialfc.PartialFC(
        D,
        case.num_classes,
        margin=make(**arguments),
        sample_rate=case.sample_rate,
        weight_dtype=torch.float64,
        compute_dtype=torch.float64,
        seed=case.seed,
        class_weights=case.class_weights,
        **options,
    )


def run_case(case: Case) -> dict[str, Any]:
    """On each rank: loss, embedding gradient, sample, and the rows after plain gradient descent."""
    world = World.of()
    embeddings, labels = case.batch()
    mine = case.own()
    head = build(case, **case.extra)
    optimizer = partialfc.RowSGD(head, lr=1.0, unsampled="frozen")
    x, y = embeddings[mine].clone().requires_grad_(), labels[mine].clone()
    kept = x.detach().clone(), y.clone()
    weights = None if case.weights is None else torch.tensor(case.weights, dtype=torch.float64)[mine]
    loss = head(x, y, weights)
    loss.backward()
    optimizer.step()
    assert torch.equal(x.detach(), kept[0])
    assert torch.equal(y, kept[1])
    return {
        "loss": loss.item(),
        "gradient": x.grad / world.size,  # what DDP's averaging makes of it
        "participating": head.last_sample + head.shard.start,
        "weight": head.weight.detach(),
    }


def check(case: Case, results: list[dict[str, Any]]) -> None:
    """The ranks' results against the dense reference on one process."""
    _, arguments, margin = MARGINS[case.margin]
    embeddings, labels = case.batch()
    embeddings.requires_grad_()
    weight = case.weight().requires_grad_()
    participating = torch.cat([result["participating"] for result in results])
    assert len(participating.unique()) == len(participating)
    loss = reference.dense_loss(
        *(embeddings, weight, labels),
        margin=margin,
        scale=arguments["scale"],
        participating=participating,
        weights=case.weights_of_samples(),
    )
    loss.backward()
    for result in results:
        assert result["loss"] == pytest.approx(loss.item(), abs=TOLERANCE, rel=TOLERANCE)
    gradient = torch.cat([result["gradient"] for result in results])
    torch.testing.assert_close(gradient, embeddings.grad, atol=TOLERANCE, rtol=0)
    moved = torch.cat([result["weight"] for result in results])
    expected = weight.detach() - weight.grad
    torch.testing.assert_close(
        moved, expected, atol=TOLERANCE * weight.grad.abs().max().item() + 1e-10, rtol=0
    )
