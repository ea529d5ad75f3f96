"""What is frozen stays as it is, statistics and all; the rest trains."""

import copy

import pytest
import torch
from torch import nn

from partialfc.errors import ConfigError
from partialfc.evaluation.embed import _evaluating
from partialfc.finetune.freezing import freeze
from tests.finetune.cases import images, mixed


def trained_steps(network: nn.Module, count: int = 2) -> None:
    """Some steps in training mode, with all that a loop may say to the network."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    for seed in range(count):
        network.train()
        with _evaluating(network):
            pass
        network(images(seed=seed)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def moved(network: nn.Module, patterns: list[str], wrap=lambda module: module) -> set[str]:
    """The names in the state dict that some steps change."""
    freeze(network, patterns)
    before = copy.deepcopy(network.state_dict())
    trained_steps(wrap(network))
    return {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}


ALL = set(mixed().state_dict())
STEM = {name for name in ALL if name.startswith("stem.")}
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@pytest.mark.parametrize(
    ("patterns", "frozen"),
    [
        pytest.param([], set(), id="nothing"),
        pytest.param(["stem"], STEM, id="a module"),
        pytest.param(["stem.*"], STEM, id="what is below a module"),
        pytest.param(["ste?"], STEM, id="a module by a pattern"),
        pytest.param(["fc.bias"], {"fc.bias"}, id="a parameter"),
        pytest.param(["fc.bias", "stem"], STEM | {"fc.bias"}, id="two patterns"),
        pytest.param(
            ["*.1.weight", "*.1.bias"],
            {f"{layer}.1.{name}" for layer in ("stem", "block") for name in ("weight", "bias", *STATISTICS)},
            id="all parameters of BatchNorm layers",
        ),
        pytest.param(["stem.1.weight"], {"stem.1.weight"}, id="one parameter of a BatchNorm layer"),
        pytest.param(["*"], ALL, id="everything"),
    ],
)
def test_what_is_frozen_stays_and_all_else_moves(patterns, frozen):
    """Weight decay, momentum and running statistics move nothing of it."""
    network = mixed()
    if frozen == ALL:
        freeze(network, patterns)
        network.train()
        assert not any(part.training for part in network.modules())
        assert not any(parameter.requires_grad for parameter in network.parameters())
        return
    assert moved(network, patterns) == ALL - frozen


def test_a_compiled_network_keeps_it_frozen():
    assert (
        moved(mixed(), ["stem"], wrap=lambda network: torch.compile(network, backend="eager")) == ALL - STEM
    )


def test_a_frozen_dropout_does_nothing():
    network = mixed()
    freeze(network, ["block"])
    network.train()
    assert torch.equal(network.block(torch.ones(2, 4, 6, 6)), network.block(torch.ones(2, 4, 6, 6)))


def test_a_copy_stays_frozen_and_leaves_the_first_alone():
    network = mixed()
    freeze(network, ["stem"])
    copied = copy.deepcopy(network)
    before = copy.deepcopy(network.state_dict())
    trained_steps(copied)
    assert not copied.stem[1].training
    assert torch.equal(copied.stem[1].running_mean, before["stem.1.running_mean"])
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("stm", "'stm' matches no module or parameter of the backbone; it has stem"),
        ("stem.0.weigth", "'stem.0.weigth' matches no .* it has stem.0.weight"),
        ("layer4.*", "it has stem, block, fc$"),
        ("*.wei", "it has .*weight"),
    ],
)
def test_a_pattern_that_matches_nothing_names_near_ones(pattern, message):
    network = mixed()
    with pytest.raises(ConfigError, match=f"^finetune.freeze: .*{message}"):
        freeze(network, ["stem", pattern], key="finetune.freeze")
    assert all(parameter.requires_grad for parameter in network.parameters())
