"""Probabilistic embeddings on the pretend accelerator: the CPU's numbers, and no wait for the device."""

import torch

from partialfc.uncertainty import MutualLikelihoodLoss, ProbabilisticEmbedding
from tests.backbones.cases import images, small
from tests.pretend.machine import machine
from tests.torch_calls import TorchCalls, without_determinism

D = 24
LABELS = torch.tensor([0, 1, 0, -1, 1, 2, 0, 1])


def network() -> ProbabilisticEmbedding:
    torch.manual_seed(0)
    return ProbabilisticEmbedding(small("convnet"), D).train()


def train(device: str) -> dict[str, torch.Tensor]:
    """The losses of three steps, and the weights after them."""
    model, loss, losses = network().to(device), MutualLikelihoodLoss(D), []
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    batch = images(len(LABELS)).to(device)
    for number in range(3):
        with machine.log.phase(f"step {number}"):
            value = loss(model(batch), LABELS)
            value.backward()
            optimizer.step()
            optimizer.zero_grad()
        losses.append(value.detach())
    return {"losses": torch.stack(losses).cpu(), "weight": model.uncertainty.fc2.weight.detach().cpu()}


def train_on_pretend() -> tuple[dict[str, torch.Tensor], list[str]]:
    found = train("pretend")
    return found, [str(fault) for fault in machine.log.faults if fault.phase]


def test_the_numbers_are_the_cpus_and_nothing_waits(on_pretend):
    found, faults = on_pretend(train_on_pretend)
    assert faults == []
    for key, value in train("cpu").items():
        torch.testing.assert_close(found[key], value, atol=1e-4, rtol=1e-4, msg=key)


def test_a_gpu_has_every_operator_in_a_deterministic_form():
    model = network()
    with TorchCalls() as calls:
        MutualLikelihoodLoss(D)(model(images(len(LABELS))), LABELS).backward()
    assert without_determinism(calls) == set()
