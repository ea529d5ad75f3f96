"""Groups of parameters with learning rates of their own."""

import pytest
import torch

from partialfc.errors import ConfigError
from partialfc.finetune.groups import parameter_groups
from partialfc.finetune.lora import add_lora
from tests.finetune.cases import mixed


def factors_of(network, factors):
    groups = parameter_groups(network, factors)
    own = {id(p): name for name, p in network.named_parameters()}
    return {own[id(p)]: group["lr_scale"] for group in groups for p in group["params"]}


def test_without_patterns_there_is_one_group_in_the_networks_order():
    network = mixed()
    (group,) = parameter_groups(network, {})
    assert group["lr_scale"] == 1.0
    assert [id(p) for p in group["params"]] == [id(p) for p in network.parameters()]


def test_the_last_pattern_that_names_a_parameter_counts():
    network = mixed()
    found = factors_of(network, {"*": 0.1, "fc": 1.0, "fc.bias": 2.0})
    assert found == {
        name: 2.0 if name == "fc.bias" else 1.0 if name == "fc.weight" else 0.1
        for name, _ in network.named_parameters()
    }
    assert len(parameter_groups(network, {"*": 0.1})) == 1


def test_low_rank_factors_have_names_of_their_own():
    network = mixed()
    add_lora(network, ["fc"], rank=2)
    found = factors_of(network, {"fc": 0.5, "*.lora_b": 16.0})
    assert found["fc.parametrizations.weight.0.a"] == 0.5
    assert found["fc.parametrizations.weight.0.b"] == 16.0
    assert found["fc.bias"] == 0.5


def test_a_group_moves_by_its_share():
    network = mixed()
    optimizer = torch.optim.SGD(parameter_groups(network, {"fc": 0.25}), lr=1.0)
    for group in optimizer.param_groups:
        group["lr"] = 0.1 * group["lr_scale"]
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    for name, parameter in network.named_parameters():
        step = 0.025 if name.startswith("fc") else 0.1
        torch.testing.assert_close(before[name] - parameter, torch.full_like(parameter, step))


def test_a_pattern_that_matches_nothing_is_an_error():
    with pytest.raises(ConfigError, match=r"finetune.lr_scale: 'fcc' matches no .* it has fc"):
        parameter_groups(mixed(), {"fcc": 0.1}, key="finetune.lr_scale")
