"""Distillation on the pretend accelerator: the CPU's numbers, and no wait for the device."""

import pytest
import torch

from partialfc.distillation.teacher import Teacher
from tests.distillation.test_losses import LOSSES
from tests.losses.cases import D
from tests.pretend.machine import machine
from tests.train_cases import Tiny


def train(device: str, name: str, labelled: bool) -> dict[str, torch.Tensor]:
    """The loss of three batches, and the last gradient of the student's embeddings."""
    torch.manual_seed(0)
    sizes = {"embedding_size": D, "image_size": 4, "channels": 1}
    network = Tiny(**sizes, double=True).to("cpu")
    teacher, loss, losses = Teacher(network, **sizes).to(torch.device(device)), LOSSES[name][0](), []
    for number in range(3):
        drawn = {"generator": torch.Generator("cpu").manual_seed(number), "device": "cpu"}
        labels = torch.randint(-1, 3, (8,), **drawn) if labelled else None
        images = (torch.rand(8, 1, 4, 4, **drawn, dtype=torch.float64) * 2 - 1).to(device)
        x = torch.randn(8, D, **drawn, dtype=torch.float64).to(device).requires_grad_()
        with machine.log.phase(f"step {number}"):
            value = loss(x, teacher(images), labels)
            value.backward()
        losses.append(value.detach())
    return {"losses": torch.stack(losses).cpu(), "gradient": x.grad.cpu()}


def train_on_pretend(name: str, labelled: bool, default: str) -> tuple[dict[str, torch.Tensor], list[str]]:
    torch.set_default_device(default)
    try:
        result = train("pretend", name, labelled)
    finally:
        torch.set_default_device(None)
    return result, [str(fault) for fault in machine.log.faults if fault.phase]


@pytest.mark.parametrize("default", ["cpu", "pretend"])
@pytest.mark.parametrize("labelled", [True, False], ids=["labels", "no_labels"])
@pytest.mark.parametrize("name", LOSSES)
def test_the_numbers_are_the_cpus_and_nothing_waits(on_pretend, name, labelled, default):
    """Whatever torch's default device is."""
    found, faults = on_pretend(train_on_pretend, name, labelled, default)
    assert faults == []
    for key, value in train("cpu", name, labelled).items():
        torch.testing.assert_close(found[key], value, atol=1e-10, rtol=0, msg=key)
