"""torch's own ways on the pretend accelerator, a GradScaler and sparse gradients: without a wait."""

from typing import Any

import pytest
import torch

import partialfc
from partialfc.distributed.accelerator import on_device
from tests.head.optim.cases import SCALE, SGD, C, D, batch, build
from tests.head.optim.test_grad_scaler import LOOPS, STEPS, Loop, network, on_torch
from tests.pretend.machine import machine


def run(kind: str, fused: bool) -> tuple[dict[str, Any], list[str]]:
    head = build(1.0).to("pretend")
    optimizer = partialfc.RowSGD(head, **SGD)
    loop = Loop(kind, network().to("pretend"), optimizer, fused=fused)
    faults = steps(loop, head)
    return {
        "scales": loop.scales,
        "backbone": [p.detach().cpu() for p in loop.backbone.parameters()],
        "rows": head.state_dict()["weight"].cpu(),
        "momentum": optimizer.row_state["momentum"].cpu(),
    }, faults


def steps(loop: Loop, head: partialfc.PartialFC) -> list[str]:
    """Run all of them -> the waits within."""
    for step in range(STEPS):
        with machine.log.phase(f"step {step}"):
            loop.backward(step, head, samples=slice(None), spoils=True)
            loop.step()
        loop.scales.append(loop.scaler.get_scale())
    return [str(fault) for fault in machine.log.faults if fault.phase]


def with_adamw(device: str, kind: str) -> tuple[dict[str, torch.Tensor], list[str]]:
    head = build(0.3).to(device)
    optimizer = partialfc.RowAdamW(head, lr=0.1)
    loop = Loop(kind, network().to(device), optimizer, fused=True)
    faults = steps(loop, head)
    return {name: tensor.cpu() for name, tensor in optimizer.row_state.items()}, faults


@pytest.mark.parametrize("kind", ["one after the other", "together"])
def test_a_grad_scaler_with_adamw_on_some_rows_is_the_cpus(on_pretend, kind):
    (expected, _), (found, faults) = with_adamw("cpu", kind), on_pretend(with_adamw, "pretend", kind)
    assert faults == []
    assert expected["count"].max() < STEPS  # of the steps that were applied
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("kind", LOOPS)
def test_a_grad_scaler_moves_what_it_moves_with_dense_centres(on_pretend, kind):
    expected, (found, faults) = on_torch(kind, SGD), on_pretend(run, kind, True)
    assert faults == []
    assert found["scales"] == expected["scales"]
    for parameter, true in zip(found["backbone"], expected["backbone"], strict=True):
        torch.testing.assert_close(parameter, true, atol=1e-10, rtol=0)
    for name in ("rows", "momentum"):
        torch.testing.assert_close(found[name], expected[name], atol=1e-10, rtol=0)


def test_beside_an_optimizer_that_is_not_fused_a_grad_scaler_waits_once_a_step(on_pretend):
    expected, (found, faults) = on_torch("together", SGD), on_pretend(run, "together", False)
    assert len(faults) == STEPS
    torch.testing.assert_close(found["rows"], expected["rows"], atol=1e-10, rtol=0)


def sparse(device: str, kind: str, sample_rate: float) -> tuple[torch.Tensor, list[str]]:
    head = partialfc.PartialFC(
        D,
        C,
        margin=partialfc.ArcFace(scale=SCALE, margin=0.3),
        sample_rate=sample_rate,
        weight_dtype=torch.float64,
        compute_dtype=torch.float64,
        sparse_grad=True,
    ).to(device)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.5)
    loop = Loop(kind, network().to(device), optimizer, fused=True)
    faults = steps(loop, head)
    return head.weight.detach().cpu(), faults


@pytest.mark.parametrize("sample_rate", [1.0, 0.3])
@pytest.mark.parametrize("kind", LOOPS)
def test_a_sparse_gradient_is_the_cpus(on_pretend, kind, sample_rate):
    """torch's SGD moves by sparse gradients where it is not fused, so a GradScaler waits, once a step."""
    expected, _ = sparse("cpu", kind, sample_rate)
    found, faults = on_pretend(sparse, "pretend", kind, sample_rate)
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)
    assert len(faults) == STEPS, faults


def sparse_steps(device: str, accumulation: int) -> torch.Tensor:
    """Without a GradScaler; the sum of several sparse gradients is not coalesced."""
    head = partialfc.PartialFC(D, C, margin=partialfc.ArcFace(), sample_rate=0.3, sparse_grad=True)
    head.to(device)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.5)
    with machine.log.phase("steps"):
        for step in range(3 * accumulation):
            embeddings, labels = batch(step)
            head(on_device(embeddings, torch.device(device)).float().requires_grad_(), labels).backward()
            if step % accumulation == accumulation - 1:
                optimizer.step()
                optimizer.zero_grad()
    assert not [str(fault) for fault in machine.log.faults if fault.phase]
    return head.weight.detach().cpu()


@pytest.mark.parametrize("accumulation", [1, 3])
def test_sparse_gradients_wait_for_nothing(on_pretend, accumulation):
    found, expected = on_pretend(sparse_steps, "pretend", accumulation), sparse_steps("cpu", accumulation)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
