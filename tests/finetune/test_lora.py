"""Low-rank updates: exactly what the paper says, merged without a trace."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from partialfc.errors import CheckpointError, ConfigError
from partialfc.finetune.freezing import freeze
from partialfc.finetune.lora import add_lora, load_lora_state, lora_state, merge_lora
from partialfc.finetune.names import named_parameters
from tests.finetune.cases import Mixed, images, mixed

LAYERS = ["stem.0", "block.0", "fc"]


def updated(seed: int = 0, **options) -> Mixed:
    """With updates that some steps have moved away from 0."""
    network = mixed()
    add_lora(network, ["*"], rank=2, seed=seed, **options)
    train(network)
    return network


def train(network: nn.Module, steps: int = 3) -> None:
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    for seed in range(steps):
        torch.manual_seed(seed)
        network.train()
        network(images(seed=seed)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def embedded(network: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return network.eval()(images())


def test_it_begins_as_the_network_was():
    network = mixed()
    before = embedded(network)
    assert add_lora(network, ["*"], rank=2) == LAYERS
    assert torch.equal(embedded(network), before)


def test_a_layer_computes_equation_3():
    """h = W x + alpha / r · B A x, by a second path here; a convolution's A looks at the whole window."""
    network = updated(alpha=8.0)
    state = lora_state(network)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(3, 8 * 16, generator=generator)
    path = F.linear(F.linear(x, state["fc.lora_a"]), state["fc.lora_b"]) * (8.0 / 2)
    plain = F.linear(x, state["fc.original"], network.fc.bias)
    torch.testing.assert_close(network.fc(x), plain + path)
    x = torch.randn(3, 1, 8, 8, generator=generator)
    a, b = state["stem.0.lora_a"].view(2, 1, 3, 3), state["stem.0.lora_b"].view(4, 2, 1, 1)
    path = F.conv2d(F.conv2d(x, a), b) * (8.0 / 2)
    torch.testing.assert_close(network.stem[0](x), F.conv2d(x, state["stem.0.original"]) + path)


@pytest.mark.parametrize("frozen", [[], ["*"], ["stem"]], ids=["the rest trains", "alone", "stem frozen"])
def test_only_the_updates_and_what_is_not_frozen_train(frozen):
    network = mixed()
    freeze(network, frozen)
    add_lora(network, ["fc", "stem"], rank=2)
    before = {name: p.detach().clone() for name, p in named_parameters(network).items()}
    train(network)
    moved = {name for name, p in named_parameters(network).items() if not torch.equal(p, before[name])}
    updates = {f"{layer}.lora_{part}" for layer in ("fc", "stem.0") for part in "ab"}
    block = {name for name in before if name.startswith("block")}
    rest = {
        "": block | {"fc.bias", "stem.1.weight", "stem.1.bias"},
        "*": set(),
        "stem": block | {"fc.bias"},
    }
    assert moved == updates | rest["".join(frozen)]


def test_the_merged_network_is_the_same_network():
    network = updated()
    merged = copy.deepcopy(network)
    merge_lora(merged)
    assert torch.equal(embedded(merged), embedded(network))
    assert merged.state_dict().keys() == mixed().state_dict().keys()
    assert type(merged.fc) is nn.Linear
    assert all(parameter.requires_grad for parameter in merged.parameters())
    train(merged)
    train(network)  # the copy did not touch it
    plain = mixed()
    plain.load_state_dict(merged.state_dict())
    assert torch.equal(embedded(plain), embedded(merged))


class Doubled(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


@pytest.mark.parametrize("first", ["bias", "update"])
def test_merging_leaves_what_else_is_parametrized(first):
    """And copies, which share the layer's class, stay as they are."""
    network = mixed()
    if first == "bias":
        parametrize.register_parametrization(network.fc, "bias", Doubled())
    add_lora(network, ["*"], rank=2)
    if first == "update":
        parametrize.register_parametrization(network.fc, "bias", Doubled())
    train(network)
    merged = copy.deepcopy(network)
    merge_lora(merged)
    assert torch.equal(embedded(merged), embedded(network))
    assert lora_state(merged) == {}
    assert isinstance(merged.fc.weight, nn.Parameter)
    assert parametrize.is_parametrized(merged.fc, "bias")
    assert type(merged.stem[0]) is nn.Conv2d
    again = copy.deepcopy(merged)
    before = merged.fc.bias.detach().clone()
    train(merged)
    assert not torch.equal(merged.fc.bias, before)
    assert torch.equal(again.fc.bias, before)
    merge_lora(network)
    assert torch.equal(embedded(network), embedded(again))
    parametrize.remove_parametrizations(merged.fc, "bias")
    assert type(merged.fc) is nn.Linear
    assert parametrize.is_parametrized(network.fc, "bias")


def test_a_state_dict_is_that_of_the_plain_network():
    """So it can be loaded wherever a plain one can, and a plain one into a network with updates."""
    network = updated()
    plain = mixed(seed=1)
    assert network.state_dict().keys() == plain.state_dict().keys()
    nn.Sequential(plain).load_state_dict(nn.Sequential(network).state_dict())
    assert torch.equal(embedded(plain), embedded(network))
    other = mixed(seed=2)
    network.load_state_dict(other.state_dict())
    assert torch.equal(embedded(network), embedded(other))


def test_training_goes_on_from_its_state_bit_for_bit():
    network, resumed = updated(), mixed()
    add_lora(resumed, ["*"], rank=2, seed=7)
    resumed.load_state_dict(network.state_dict())
    load_lora_state(resumed, lora_state(network))
    train(network)
    train(resumed)
    for name, tensor in lora_state(network).items():
        assert torch.equal(tensor, lora_state(resumed)[name]), name
    assert torch.equal(embedded(resumed), embedded(network))


def test_the_seed_gives_the_first_values():
    first, same, other = (lora_state(updated(seed=seed)) for seed in (0, 0, 1))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["fc.lora_a"], other["fc.lora_a"])


def test_another_rank_is_refused():
    network, other = updated(), mixed()
    add_lora(other, ["*"], rank=1)
    with pytest.raises(CheckpointError, match="of other layers, or of another rank"):
        load_lora_state(other, lora_state(network))


@pytest.mark.parametrize("dtype", [torch.bfloat16, None], ids=["bfloat16", "float32"])
def test_it_merges_in_full_precision_under_autocast_and_compiled(dtype):
    network = updated()
    merged = copy.deepcopy(network)
    merge_lora(merged)
    compiled = torch.compile(network.eval(), backend="aot_eager")
    with torch.no_grad(), torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
        wanted = merged.eval()(images())
        assert torch.equal(network(images()), wanted)
        torch.testing.assert_close(compiled(images()), wanted)


@pytest.mark.parametrize(
    ("pattern", "rank", "message"),
    [
        ("block.1", 1, "lora.patterns: 'block.1' names no Linear or Conv2d layer; .* stem.0, block.0, fc"),
        ("attention", 1, "lora.patterns: 'attention' matches no module"),
        ("stem", 5, "lora.rank is 5; the weight of stem.0 is a matrix of 4 x 9, so it must be 1..4"),
        ("stem", 0, "it must be 1..4"),
    ],
)
def test_layers_that_it_does_not_fit_are_named(pattern, rank, message):
    network = mixed()
    with pytest.raises(ConfigError, match=message):
        add_lora(network, ["fc", pattern], rank=rank)
    assert network.state_dict().keys() == mixed().state_dict().keys()


@pytest.mark.parametrize(
    ("frozen", "patterns", "layers"),
    [
        (["stem"], ["*"], ["block.0", "fc"]),
        (["stem.0"], ["s*", "*"], None),
        (["stem"], ["*", "stem.0"], LAYERS),
        (["stem"], ["stem", "fc"], ["stem.0", "fc"]),
        (["*"], ["*"], LAYERS),
        (["*"], ["stem*"], ["stem.0"]),
        (["*.weight"], ["*"], LAYERS),
        (["*.bias"], ["*"], LAYERS),
    ],
    ids=["others", "none left", "by name", "by module", "all", "some of all", "weights", "biases"],
)
def test_a_frozen_layer_gets_an_update_where_it_is_named_outright_or_all_are_frozen(frozen, patterns, layers):
    network = mixed()
    freeze(network, frozen)
    if layers is not None:
        assert add_lora(network, patterns, rank=1) == layers
        return
    with pytest.raises(ConfigError, match=r"'s\*' names frozen layers alone, stem\.0: .* without wildcards"):
        add_lora(network, patterns, rank=1)
