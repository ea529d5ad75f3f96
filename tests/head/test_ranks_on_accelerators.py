"""The head on ranks that each have the pretend accelerator: the CPU's numbers, and what a step waits for."""

from typing import Any

import pytest
import torch

import partialfc
from partialfc.distributed import World
from tests.head.cases import D
from tests.head.margins.test_base import Reweighting
from tests.head.test_accelerator import OPTIMIZERS, C
from tests.pretend.collectives import ALONE, BESIDE_GLOO
from tests.pretend.machine import machine

SIZES = [7, 4, 6]  # of rank 0's batches; those of the next ranks are one smaller each
RANKS = 2
MARGINS = {"plain": partialfc.ArcFace, "re-weighting": Reweighting}


def build(device: str, margin: str, options: dict[str, Any]) -> partialfc.PartialFC:
    usual = {"compute_dtype": torch.float64, "weight_dtype": torch.float64, "compile": False}
    return partialfc.PartialFC(D, C, margin=MARGINS[margin](), **(usual | options)).to(device)


def batch(number: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rank = World.of().rank
    generator = torch.Generator().manual_seed(10 * number + rank)
    size = SIZES[number % len(SIZES)] - rank
    labels = torch.randint(-1, C, (size,), generator=generator)
    embeddings = torch.randn(size, D, generator=generator, dtype=torch.float64)
    return embeddings, labels, torch.rand(size, generator=generator)


def train(
    device: str, margin: str, optimizer: str, weighted: bool, head: dict[str, Any]
) -> tuple[dict[str, torch.Tensor], list[str], dict[str, int]]:
    """A few steps: what they found, the faults of all but the first, and the last one's collectives."""
    built = build(device, margin, head)
    moving = getattr(partialfc, optimizer)(built, **OPTIMIZERS[optimizer])
    losses = []
    for number in range(4):
        built.world.traffic.reset()
        embeddings, labels, weights = batch(number)
        x = embeddings.to(device).requires_grad_()
        with machine.log.phase(f"step {number}"):
            loss = built(x, labels, weights if weighted else None)
            loss.backward()
            moving.step()
            moving.zero_grad()
        losses.append(loss.detach())
    assert x.grad is not None
    calls = dict(built.world.traffic.calls)
    faults = [str(fault) for fault in machine.log.faults if fault.phase not in ("", "step 0")]
    moving.flush()
    found = {"losses": torch.stack(losses), "gradient": x.grad, "weight": built.weight.detach()}
    return {name: value.cpu() for name, value in found.items()}, faults, calls


@pytest.mark.parametrize("backend", [BESIDE_GLOO, ALONE], ids=["beside gloo", "alone"])
@pytest.mark.parametrize(
    ("margin", "optimizer", "weighted", "head"),
    [
        ("plain", "RowSGD", False, {}),
        ("plain", "RowSGD", True, {"sample_rate": 0.3, "class_weights": torch.linspace(0.5, 2.0, C)}),
        ("plain", "RowAdamW", False, {"sample_rate": 0.3}),
        ("re-weighting", "RowSGD", False, {"sample_rate": 0.3}),
        ("plain", "RowSGD", False, {"gather_dtype": torch.bfloat16}),
    ],
    ids=["all rows", "weights", "adamw", "re-weighted negatives", "bfloat16 between ranks"],
)
def test_ranks_train_as_on_the_cpu(ranks_on_pretend, run_ranks, backend, margin, optimizer, weighted, head):
    """With a group of the device alone the labels go through it, beside what it still has to do."""
    arguments = (margin, optimizer, weighted, head)
    there = ranks_on_pretend(train, RANKS, "pretend", *arguments, backend=backend)
    here = run_ranks(train, RANKS, "cpu", *arguments)
    for (found, faults, calls), (expected, _, calls_here) in zip(there, here, strict=True):
        assert faults == []
        assert calls == calls_here == {"all_gather": 2, "all_reduce": 2, "reduce_scatter": 1}
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, atol=1e-10, rtol=1e-10, msg=name)


def nearest(device: str) -> tuple[torch.Tensor, torch.Tensor, float]:
    head = build(device, "plain", {}).eval()
    embeddings, labels, _ = batch(0)
    cosines, classes = head.top_k(embeddings.to(device), 3)
    with torch.no_grad():
        return cosines.cpu(), classes.cpu(), head(embeddings.to(device), labels).item()


@pytest.mark.parametrize("backend", [BESIDE_GLOO, ALONE], ids=["beside gloo", "alone"])
def test_ranks_find_the_nearest_classes_as_on_the_cpu(ranks_on_pretend, run_ranks, backend):
    there = ranks_on_pretend(nearest, RANKS, "pretend", backend=backend)
    for (cosines, classes, loss), expected in zip(there, run_ranks(nearest, RANKS, "cpu"), strict=True):
        torch.testing.assert_close(cosines, expected[0], atol=1e-10, rtol=0)
        assert torch.equal(classes, expected[1])
        assert loss == pytest.approx(expected[2], abs=1e-10)


def with_another_device_current() -> float:
    head = build("pretend", "plain", {})
    torch.accelerator.set_device_index(1)  # which this machine lacks
    try:
        return head(torch.ones(3, D, device="pretend:0"), torch.tensor([1, 2, 3])).item()
    finally:
        torch.accelerator.set_device_index(0)


def test_labels_go_through_the_head_s_device_and_not_the_current_one(ranks_on_pretend):
    first, second = ranks_on_pretend(with_another_device_current, RANKS, backend=ALONE)
    assert first == second > 0


def bad_label_on_rank_one() -> None:
    head = build("pretend", "plain", {})
    labels = torch.tensor([1, 2, 700 if World.of().rank == 1 else 3])
    head(torch.randn(3, D, device="pretend"), labels)


def test_ranks_hear_of_a_bad_label_without_a_cpu_backend(ranks_on_pretend):
    with pytest.raises(partialfc.LabelError, match="label 700 at sample 2 on rank 1"):
        ranks_on_pretend(bad_label_on_rank_one, RANKS, backend=ALONE)
