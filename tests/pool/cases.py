"""Steps of a class pool: what is written and what is classified, shared out among ranks in several ways."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

import partialfc
from partialfc.distributed import World
from tests.head.cases import MARGINS as COMBINED
from tests.head.margins import every
from tests.head.margins.dense import Make, built
from tests.pool.reference import ReferencePool

D, SIZE, STEPS = 6, 9, 5
HARD, WEIGHT = 4, 0.7
TOLERANCE = 1e-10
MARGINS: dict[str, Make] = {
    **{name: (make, arguments) for name, (make, arguments, _) in COMBINED.items()},
    **{name: make for name, make in every.MARGINS.items() if name != "softmax_bias"},
    "sub_centers": (partialfc.SubCenter, {"k": 3, "base": every.ARCFACE}),
}


@dataclass
class Step:
    """One step of all ranks: features [M, D] and their classes, embeddings [N, D] and theirs."""

    features: Tensor
    written: list[int]
    embeddings: Tensor
    labels: list[int]

    @staticmethod
    def draw(number: int) -> "Step":
        """Few classes and a small pool, so that classes come, stay, leave and come back."""
        generator = torch.Generator().manual_seed(number)

        def rows(count: int) -> Tensor:
            return torch.randn(count, D, generator=generator, dtype=torch.float64)

        def classes(count: int) -> list[int]:
            return (torch.randint(-1, 16, (count,), generator=generator) * 10**9).clamp_min(-1).tolist()

        return Step(rows(7), classes(7), rows(11), classes(11))


def parts(count: int, world_size: int) -> list[slice]:
    """Uneven ones; of three ranks the second has nothing."""
    ends = {1: [0, count], 2: [0, count - 2, count], 3: [0, count // 3, count // 3, count]}[world_size]
    return [slice(begin, end) for begin, end in pairwise(ends)]


def pool_of(name: str, **options: Any) -> partialfc.DynamicClassPool:
    wide = {"feature_dtype": torch.float64, "compute_dtype": torch.float64}
    usual = {"hard_negatives": HARD, "weight": WEIGHT, **wide}
    return partialfc.DynamicClassPool(D, SIZE, margin=built(MARGINS[name]), **usual | options)


def run_steps(
    pool: partialfc.DynamicClassPool, steps: range | list[int], device: str = "cpu"
) -> dict[str, Any]:
    """On each rank: losses, the gradients of its own embeddings as DDP leaves them, the pool's classes."""
    world = World.of()
    losses, gradients, found = [], [], []
    for number in steps:
        step = Step.draw(number)
        mine = parts(len(step.written), world.size)[world.rank]
        pool.write(step.features[mine].to(device), torch.tensor(step.written)[mine])
        mine = parts(len(step.labels), world.size)[world.rank]
        x = step.embeddings[mine].clone().to(device).requires_grad_()
        loss = pool(x, torch.tensor(step.labels)[mine])
        (3 * loss).backward()
        losses.append(loss.item() if device == "cpu" else loss.detach())
        assert x.grad is not None
        gradients.append(x.grad / 3 / world.size)
        found.append(pool.last_found)
    state = {name: tensor.clone() for name, tensor in pool.margin.state_dict().items()}
    return {
        "losses": losses,
        "gradients": gradients,
        "found": found,
        "classes": pool.classes.tolist(),
        "state": state,
    }


def check_steps(name: str, results: list[dict[str, Any]]) -> None:
    """The ranks' results of `run_steps` against the reference."""
    reference = ReferencePool(SIZE, built(MARGINS[name]), hard_negatives=HARD, weight=WEIGHT)
    for number in range(STEPS):
        step = Step.draw(number)
        reference.write(step.features, step.written)
        x = step.embeddings.clone().requires_grad_()
        loss = reference.loss(x, step.labels)
        loss.backward()
        assert [result["losses"][number] for result in results] == pytest.approx(
            [loss.item()] * len(results), abs=TOLERANCE, rel=TOLERANCE
        )
        assert len({result["losses"][number] for result in results}) == 1
        gradient = torch.cat([result["gradients"][number] for result in results])
        largest = max(1.0, x.grad.abs().max().item())
        torch.testing.assert_close(gradient, x.grad, atol=TOLERANCE * largest, rtol=0)
    for result in results:
        assert result["classes"] == list(reference.features)
        for key, tensor in reference.margin.state_dict().items():
            torch.testing.assert_close(result["state"][key], tensor, atol=1e-12, rtol=1e-12)
