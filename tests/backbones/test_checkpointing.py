"""Activation checkpointing: less is kept for the pass back, and every result is the same to the bit."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from partialfc.backbones.checkpointing import checkpointed, checkpointed_blocks
from partialfc.errors import ConfigError
from tests.backbones.cases import ALL, images, small
from tests.pretend.machine import machine

RANDOM = {
    "iresnet18": {"dropout": 0.4},
    "vit_tiny": {"drop_path": 0.3, "patch_mask": 0.3, "depth": 3},
}
State = dict[str, Tensor]
Passed = tuple[list[Tensor], State, State]


def trained(
    backbone: nn.Module, *, amp: bool = False, frozen: bool = False
) -> tuple[list[Tensor], State, State]:
    """Two passes whose gradients add up: the losses, the gradients, and the buffers and random state then."""
    torch.manual_seed(3)
    backbone.train(not frozen)
    losses = []
    for micro_batch in images(6, image_size=16).chunk(2):
        with torch.autocast("cpu", torch.bfloat16, enabled=amp):
            embeddings = backbone(micro_batch)
        losses.append((embeddings * torch.arange(24)).cos().sum())
        losses[-1].backward()
    gradients = {n: p.grad for n, p in backbone.named_parameters() if p.grad is not None}
    left = {**dict(backbone.named_buffers()), "random": torch.get_rng_state()}
    return [loss.detach() for loss in losses], gradients, left


def assert_same(first: Passed, second: Passed) -> None:
    for one, other in zip(first[0], second[0], strict=True):
        assert torch.equal(one, other)
    for mine, others in zip(first[1:], second[1:], strict=True):
        assert mine.keys() == others.keys()
        for name, tensor in mine.items():
            assert torch.equal(tensor, others[name]), name


@pytest.mark.parametrize("frozen", [False, True], ids=["training", "evaluation"])
@pytest.mark.parametrize("amp", [False, True], ids=["float32", "autocast"])
@pytest.mark.parametrize("name", ALL)
def test_results_are_the_same_to_the_bit(name: str, amp: bool, frozen: bool) -> None:
    """Losses, gradients, running statistics, counters of batches and random numbers."""
    options = {"image_size": 16, **RANDOM.get(name, {})}
    plain = trained(small(name, **options), amp=amp, frozen=frozen)
    assert_same(trained(checkpointed(small(name, **options), name=name), amp=amp, frozen=frozen), plain)


def on_the_device(name: str) -> tuple[list[str], bool]:
    """Passes there with random branches: what waited for it, and whether checkpointing changes nothing."""
    batch = images(2, image_size=16).to(machine.device)
    results = []
    for changed in (False, True):
        backbone = small(name, image_size=16, **RANDOM.get(name, {})).to(machine.device).train()
        if changed:
            checkpointed(backbone, name=name)
        torch.manual_seed(3)
        machine.log.clear()
        backbone(batch).square().sum().backward()
        faults = [str(fault) for fault in machine.log.faults]
        results.append([each.grad.cpu() for each in backbone.parameters() if each.grad is not None])
    return faults, all(torch.equal(one, other) for one, other in zip(*results, strict=True))


@pytest.mark.parametrize("name", ["convnet", "vit_tiny"])
def test_an_accelerator_is_not_waited_for_and_draws_the_same_again(on_pretend: Any, name: str) -> None:
    assert on_pretend(on_the_device, name) == ([], True)


def kept_bytes(backbone: nn.Module) -> int:
    """What the pass forward keeps for the pass back, parameters aside."""
    own = {each.untyped_storage().data_ptr() for each in [*backbone.parameters(), *backbone.buffers()]}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        embeddings = backbone.train()(images(4))
    assert embeddings.requires_grad
    return sum(kept.values())


@pytest.mark.parametrize(
    ("name", "at_most"),
    [("iresnet18", 0.5), ("mobilefacenet", 0.6), ("vargfacenet", 0.35), ("vit_tiny", 0.2), ("convnet", 0.9)],
)
def test_less_is_kept_for_the_pass_back(name: str, at_most: float) -> None:
    plain = small(name)
    assert kept_bytes(checkpointed(copy.deepcopy(plain), name=name)) < at_most * kept_bytes(plain)


@pytest.mark.parametrize("name", ALL)
def test_names_and_evaluation_stay(name: str) -> None:
    plain, changed = small(name), checkpointed(small(name), name=name)
    assert [*changed.state_dict()] == [*plain.state_dict()]
    changed.load_state_dict(plain.state_dict())
    with torch.no_grad():
        assert torch.equal(changed.eval()(images()), plain.eval()(images()))


def test_a_deep_copy_computes_with_its_own_parameters() -> None:
    backbone = checkpointed(small("convnet"), name="convnet")
    copied = copy.deepcopy(backbone)
    for parameter in copied.parameters():
        nn.init.zeros_(parameter)
    assert not copied(images()).any()
    copied(images()).sum().backward()
    assert all(parameter.grad is None for parameter in backbone.parameters())
    assert backbone(images()).any()


class Counting(nn.Module):
    """Multiplies by a buffer that each pass forward moves."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(size, size), nn.Linear(size, size)
        self.register_buffer("factor", torch.ones(()))
        self.register_buffer("nothing", None)

    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(self.factor, Tensor)
        self.factor += 1
        out: Tensor = self.second(self.first(x) * self.factor.clone())
        return out


def own(*layers: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for module in (module for layer in layers for module in layer.modules()):
        if isinstance(module, nn.Linear):
            module.reset_parameters()
    return nn.Sequential(nn.Flatten(), *layers)


@pytest.mark.parametrize(
    "build",
    [
        lambda: own(nn.Linear(256, 24), Counting(24), Counting(24)),
        lambda: own(nn.Linear(256, 24), nn.ModuleList([nn.Sequential(Counting(24))])[0]),
    ],
    ids=["items", "nested"],
)
def test_a_buffer_that_the_result_depends_on_is_as_in_the_first_pass(build: Callable[[], nn.Module]) -> None:
    changed = checkpointed(build(), name="own")
    assert [type(block).__name__ for block in checkpointed_blocks(changed)][-1] == "Counting"
    assert_same(trained(changed), trained(build()))


@pytest.mark.parametrize("switch", ["training", "track_running_stats"])
def test_what_is_switched_before_the_pass_back_does_not_count(switch: str) -> None:
    """And stays as it was switched."""
    results = []
    for changed in (False, True):
        network = small("convnet").train()
        network = checkpointed(network, name="convnet") if changed else network
        norms = [each for each in network.modules() if isinstance(each, nn.BatchNorm2d)]
        embeddings = network(images(4))
        for each in norms:
            setattr(each, switch, False)
        embeddings.square().sum().backward()
        results.append({n: p.grad for n, p in network.named_parameters() if p.grad is not None})
        assert not any(getattr(each, switch) for each in norms)
    plain, again = results
    assert all(torch.equal(gradient, again[name]) for name, gradient in plain.items())


class Chooses(nn.Module):
    """Says itself what is computed again."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Counting(32)

    def checkpointed_blocks(self) -> list[nn.Module]:
        return [self.inner]

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x)
        return out


def test_a_backbone_may_say_which_blocks() -> None:
    network = Chooses()
    assert checkpointed_blocks(network) == [network.inner]
    assert kept_bytes(nn.Sequential(checkpointed(network, name="own"))) < kept_bytes(Chooses())


def test_a_backbone_without_blocks_is_told_what_to_add() -> None:
    with pytest.raises(ConfigError, match=r"no blocks are found in mine:M: .*method checkpointed_blocks\(\)"):
        checkpointed(nn.Sequential(nn.Flatten(), nn.Linear(4, 4)), name="mine:M")


class Reduced(Counting):
    """Says itself how it is pickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (24,), self.__getstate__()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", ["convnet", "vit_tiny", "own"])
def test_a_pickle_of_the_whole_is_checkpointed_too(name: str, protocol: int) -> None:
    backbone = own(nn.Linear(256, 24), Reduced(24), Counting(24)) if name == "own" else small(name)
    checkpointed(backbone, name=name)
    loaded = pickle.loads(pickle.dumps(backbone, protocol=protocol))
    assert [type(each) for each in loaded.modules()] == [type(each) for each in backbone.modules()]
    if name != "own":
        assert kept_bytes(loaded) == kept_bytes(backbone)
        assert all(map(torch.equal, backbone.state_dict().values(), loaded.state_dict().values()))


def test_torch_saves_the_whole(tmp_path: Path) -> None:
    backbone = checkpointed(small("convnet"), name="convnet").eval()
    torch.save(backbone, tmp_path / "whole.pt")
    loaded = torch.load(tmp_path / "whole.pt", weights_only=False)
    assert torch.equal(loaded(images()), backbone(images()))
