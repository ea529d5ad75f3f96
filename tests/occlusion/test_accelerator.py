"""Occlusion on the pretend accelerator: the CPU's numbers, and no wait for the device."""

import pytest
import torch

from partialfc.occlusion import SegmentationLoss
from tests.occlusion.cases import N, images, network
from tests.pretend.machine import machine


def train(device: str, options: dict[str, object]) -> dict[str, torch.Tensor]:
    """The losses of three steps, and what the network became."""
    net = network(**options).to(device)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    labels = torch.tensor([-1, *range(1, N)], device="cpu").repeat_interleave(1 + net.unmasked)
    x, loss, losses = images().to(device), SegmentationLoss(), []
    for number in range(3):
        with machine.log.phase(f"step {number}"):
            found = net(x)
            value = found.embeddings.square().mean() + loss(found.predicted, found.masks, labels)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
        losses.append(value.detach())
    state = {name: tensor.cpu() for name, tensor in net.state_dict().items()}
    return {"losses": torch.stack(losses).cpu(), **state}


def train_on_pretend(options: dict[str, object], default: str) -> tuple[dict[str, torch.Tensor], list[str]]:
    torch.set_default_device(default)
    try:
        result = train("pretend", options)
    finally:
        torch.set_default_device(None)
    return result, [str(fault) for fault in machine.log.faults if fault.phase]


@pytest.mark.parametrize("default", ["cpu", "pretend"])
@pytest.mark.parametrize(
    "options", [{"at": "map"}, {"at": "image"}, {"at": "image", "unmasked": False, "share": 0.5}], ids=str
)
def test_the_numbers_are_the_cpus_and_nothing_waits(on_pretend, options, default):
    """Whatever torch's default device is."""
    found, faults = on_pretend(train_on_pretend, options, default)
    assert faults == []
    for key, value in train("cpu", options).items():
        torch.testing.assert_close(found[key], value, atol=1e-10, rtol=0, msg=key)
