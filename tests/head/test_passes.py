"""Chunks, kept and recomputed exponentials, compiled and eager kernels: the same numbers by every way."""

from typing import Any

import pytest
import torch

import partialfc
from tests.head.cases import Case, D, check, even, run_case
from tests.head.small_chunks import WAYS, small_chunks


def run_in_chunks(case: Case, budget: int) -> dict[str, Any]:
    with small_chunks(budget):
        return run_case(case)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("sample_rate", [1.0, 0.4])
def test_every_way_through_the_chunks_is_exact(run_ranks, way, world_size, sample_rate):
    case = Case(even(world_size), num_classes=151, sample_rate=sample_rate, seed=3)
    check(case, run_ranks(run_in_chunks, world_size, case, WAYS[way]))


@pytest.mark.parametrize(("world_size", "sample_rate"), [(1, 1.0), (1, 0.4), (2, 1.0), (3, 0.4)])
def test_compiled_kernels_are_exact(run_ranks, world_size, sample_rate):
    case = Case(even(world_size), num_classes=151, sample_rate=sample_rate, seed=4, extra={"compile": True})
    check(case, run_ranks(run_in_chunks, world_size, case, WAYS["the first chunks kept"]))


def train(
    *,
    compiled: bool,
    budget: int,
    batches: int,
    sample_rate: float,
    optimizer: str = "RowSGD",
    **options: Any,
) -> list[torch.Tensor]:
    """Twenty steps of `batches` micro-batches each: the rows and the optimizer's state."""
    with small_chunks(budget):
        head = partialfc.PartialFC(
            D,
            97,
            margin=partialfc.ArcFace(scale=16.0, margin=0.3),
            sample_rate=sample_rate,
            weight_dtype=torch.float64,
            compute_dtype=torch.float64,
            compile=compiled,
        )
        mover = getattr(partialfc, optimizer)(head, lr=0.3, weight_decay=1e-3, **options)
        generator = torch.Generator().manual_seed(1)
        for _ in range(20):
            for _ in range(batches):
                x = torch.randn(9, D, dtype=torch.float64, generator=generator).requires_grad_()
                head(x, torch.randint(97, (9,), generator=generator)).backward()
            mover.step()
        mover.flush()
        return [head.weight.detach(), *mover.row_state.values()]


@pytest.mark.parametrize("batches", [1, 3])
@pytest.mark.parametrize("sample_rate", [1.0, 0.3])
@pytest.mark.parametrize("way", ["kept", "the first chunks kept"])
def test_micro_batches_take_the_same_step_by_every_way(batches, sample_rate, way):
    plain = train(compiled=False, budget=0, batches=batches, sample_rate=sample_rate, momentum=0.9)
    other = train(compiled=False, budget=WAYS[way], batches=batches, sample_rate=sample_rate, momentum=0.9)
    for a, b in zip(plain, other, strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        ("RowSGD", {"momentum": 0.9}),
        ("RowSGD", {"momentum": 0.9, "unsampled": "frozen"}),
        ("RowSGD", {}),
        ("RowAdamW", {}),
    ],
)
def test_compiled_optimizers_take_the_eager_step(optimizer, options):
    def run(compiled: bool) -> list[torch.Tensor]:
        return train(
            compiled=compiled, budget=1 << 20, batches=1, sample_rate=0.3, optimizer=optimizer, **options
        )

    for eager, compiled in zip(run(False), run(True), strict=True):
        torch.testing.assert_close(compiled, eager, atol=1e-12, rtol=0)


def test_a_held_loss_does_not_hold_the_exponentials_and_may_be_taken_back_again():
    def run(times: int) -> torch.Tensor:
        head = partialfc.PartialFC(
            256, 60, margin=partialfc.ArcFace(), weight_dtype=torch.float64, compute_dtype=torch.float64
        )
        optimizer = partialfc.RowSGD(head, lr=0.1, unsampled="frozen")
        x = torch.randn(4, 256, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        loss = head(x.requires_grad_(), torch.arange(4))
        for _ in range(times):
            loss.backward(retain_graph=True)
            assert len(head._waiting._gradients[0].kept.values) in (60, 0)
            kept = head._waiting._gradients[0].kept
            optimizer.zero_grad()
            assert kept.values.numel() == 0
        loss.backward()
        optimizer.step()
        return head.weight.detach()

    torch.testing.assert_close(run(0), run(2), atol=1e-12, rtol=0)
