"""The losses on the pretend accelerator: the CPU's numbers, no wait for the device, no tensor of another."""

import pytest
import torch

import partialfc
from tests.losses.cases import LOSSES, C, D, some_centres
from tests.pretend.machine import machine
from tests.torch_calls import TorchCalls, without_determinism

N, STEPS = 16, 3


def build(name: str, device: str) -> partialfc.BatchLoss:
    """On the device; of the head that a centre loss may take the centres of, with them."""
    loss = LOSSES[name][0]()
    if isinstance(loss, partialfc.CenterLoss) and loss.head is not None:
        loss.head.to(device)
    return loss.to(device)


def train(device: str, name: str) -> dict[str, torch.Tensor]:
    """Losses, the last gradient and what the loss keeps, after steps of which the second is undone."""
    loss = build(name, device)
    losses = []
    for number in range(STEPS):
        drawn = {"generator": torch.Generator("cpu").manual_seed(number), "device": "cpu"}
        labels = torch.randint(-1, C, (N,), **drawn)
        x = torch.randn(N, D, **drawn, dtype=torch.float64).to(device).requires_grad_()
        skip = torch.tensor(float(number == 1), device=device)
        with machine.log.phase(f"step {number}"):
            if isinstance(loss, partialfc.CenterLoss):
                loss.keep()
            value = loss(x, labels)
            value.backward()
            if isinstance(loss, partialfc.CenterLoss):
                loss.restore(skip)
        losses.append(value.detach())
    kept = {name: buffer.cpu() for name, buffer in loss.named_buffers()}
    return {"losses": torch.stack(losses).cpu(), "gradient": x.grad.cpu(), **kept}


def train_on_pretend(name: str, default: str) -> tuple[dict[str, torch.Tensor], list[str]]:
    torch.set_default_device(default)
    try:
        result = train("pretend", name)
    finally:
        torch.set_default_device(None)
    return result, [str(fault) for fault in machine.log.faults if fault.phase]


@pytest.mark.parametrize("default", ["cpu", "pretend"])
@pytest.mark.parametrize("name", LOSSES)
def test_the_numbers_are_the_cpus_and_nothing_waits(on_pretend, name, default):
    """Whatever torch's default device is."""
    found, faults = on_pretend(train_on_pretend, name, default)
    assert faults == []
    for key, value in train("cpu", name).items():
        torch.testing.assert_close(found[key], value, atol=1e-10, rtol=0, msg=key)
    if name == "center":
        assert not torch.equal(found["centres"], some_centres())


def made_there() -> list[str]:
    by_name = partialfc.CenterLoss(D, C, device="pretend")
    with torch.device("pretend"):
        in_context = partialfc.CenterLoss(D, C)
    moved = partialfc.CenterLoss(D, C).to("pretend")
    return [loss.centres.device.type for loss in (by_name, in_context, moved)]


def test_centres_are_where_they_are_asked_for(on_pretend):
    assert on_pretend(made_there) == ["pretend"] * 3


@pytest.mark.parametrize("name", LOSSES)
def test_a_gpu_has_every_operator_in_a_deterministic_form(name):
    loss, x = build(name, "cpu"), torch.randn(N, D, dtype=torch.float64, requires_grad=True)
    with TorchCalls() as calls:
        loss(x, torch.arange(N) % C).backward()
    assert without_determinism(calls) == set()
