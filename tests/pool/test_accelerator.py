"""The pool on the pretend accelerator: the CPU's numbers, no wait for the device, no tensor of another."""

from typing import Any

import pytest
import torch

import partialfc
from tests.pool.cases import STEPS, Step, pool_of
from tests.pretend.machine import machine
from tests.torch_calls import TorchCalls, without_determinism


def train(device: str, name: str) -> dict[str, torch.Tensor]:
    """Losses, the last gradient, the features and a gallery's parameters, after a few steps."""
    pool = pool_of(name).to(device)
    torch.manual_seed(0)
    probe = torch.nn.Linear(6, 6, dtype=torch.float64, device="cpu").to(device)
    gallery = partialfc.GalleryNetwork(probe)
    losses = []
    for number in range(STEPS):
        step = Step.draw(number)
        features, x = (each.to(device) for each in (step.features, step.embeddings))
        skip = torch.tensor(float(number == 1), device=device)
        with machine.log.phase(f"step {number}"):
            pool.write(gallery(features), torch.tensor(step.written, device="cpu"))
            loss = pool(probe(x), torch.tensor(step.labels, device="cpu"))
            loss.backward()
            gallery.follow(probe, skip)
        losses.append(loss.detach())
    kept = {name: parameter.detach().cpu() for name, parameter in gallery.named_parameters()}
    gradient = next(probe.parameters()).grad
    assert gradient is not None
    return {
        "losses": torch.stack(losses).cpu(),
        "gradient": gradient.cpu(),
        "features": pool.features.cpu(),
        **kept,
    }


def train_on_pretend(name: str) -> tuple[dict[str, torch.Tensor], list[str]]:
    result = train("pretend", name)
    return result, [str(fault) for fault in machine.log.faults if fault.phase]


@pytest.mark.parametrize(
    "name", ["arcface", "curricularface", "mv_softmax", "elasticface", "softmax", "sub_centers"]
)
def test_the_numbers_are_the_cpus_and_nothing_waits(on_pretend, name):
    found, faults = on_pretend(train_on_pretend, name)
    assert faults == []
    for key, value in train("cpu", name).items():
        torch.testing.assert_close(found[key], value, atol=1e-10, rtol=1e-10, msg=key)


def made_there() -> list[Any]:
    options = {"margin": partialfc.CosFace()}
    pools = [partialfc.DynamicClassPool(4, 5, **options, device="pretend")]
    with torch.device("pretend"):
        pools.append(partialfc.DynamicClassPool(4, 5, **options))
    return [pool.features.device.type for pool in pools]


def test_features_are_where_they_are_asked_for(on_pretend):
    assert on_pretend(made_there) == ["pretend"] * 2


def test_a_gpu_has_every_operator_in_a_deterministic_form():
    with TorchCalls() as calls:
        train("cpu", "cosface")
    assert without_determinism(calls) == set()
