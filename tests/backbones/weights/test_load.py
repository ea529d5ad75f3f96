"""What people have as weights is taken where it fits exactly; else a few lines say why it does not."""

from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from partialfc.backbones import build_backbone
from partialfc.backbones.weights.files import read_weights
from partialfc.backbones.weights.load import load_weights
from partialfc.errors import CheckpointError
from tests.backbones.cases import small

D = 24  # of `small`


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(3)
    drawn = {
        name: torch.randn_like(t) if t.is_floating_point() else t
        for name, t in network().state_dict().items()
    }
    return OrderedDict(drawn)


def network() -> nn.Module:
    return small("convnet", widths=[8, 16])


def prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def load(path: Path, content: Any = None, backbone: nn.Module | None = None) -> nn.Module:
    if content is not None:
        torch.save(content, path)
    backbone = backbone or network()
    load_weights(backbone, read_weights(path), name="convnet", embedding_size=D)
    return backbone


HEAD = {"weight": torch.zeros(1000, D)}
ADAM = {"state": {0: {"step": torch.tensor(1.0), "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]}

SHAPES = {
    "as it is": lambda s: s,
    "DataParallel": lambda s: prefixed(s, "module."),
    "compiled": lambda s: prefixed(s, "_orig_mod."),
    "compiled and parallel": lambda s: prefixed(s, "module._orig_mod."),
    "compiled parts": lambda s: {name.replace(".", "._orig_mod.", 1): t for name, t in s.items()},
    "several": lambda s: prefixed(s, "model.module.backbone."),
    "with a head": lambda s: {**s, "head.weight": torch.zeros(1000, D), "head.bias": torch.zeros(1000)},
    "with a head of another layout": lambda s: {**s, "kernel": torch.zeros(D, 1000)},
    "with a head beside": lambda s: {**prefixed(s, "backbone."), "fc.weight": torch.zeros(1000, D)},
    "averaged": lambda s: {"n_averaged": torch.tensor(7), **prefixed(s, "module.")},
    "parameters": lambda s: {name: nn.Parameter(t) if t.is_floating_point() else t for name, t in s.items()},
    "half": lambda s: {name: t.half() if t.is_floating_point() else t for name, t in s.items()},
    "without counters": lambda s: {n: t for n, t in s.items() if not n.endswith("num_batches_tracked")},
    "state_dict": lambda s: {"epoch": 3, "state_dict": s, "optimizer": ADAM},
    "model": lambda s: {"model": prefixed(s, "module."), "best": np.float64(0.5), "path": Path("a")},
    "deeper": lambda s: {"trainer": {"nets": {"backbone": s, "head": HEAD}}},
    "with arguments": lambda s: {"state_dict": s, "args": Namespace(lr=0.1), "scheduler": np.arange(3)},
    "the same twice": lambda s: {"state_dict": s, "model": s},
    "arcface_torch": lambda s: {
        "epoch": 3,
        "global_step": 100,
        "state_dict_backbone": s,
        "state_dict_softmax_fc": HEAD,
        "state_optimizer": ADAM,
        "state_lr_scheduler": {"base_lrs": [0.1]},
    },
}


@pytest.mark.parametrize("kind", SHAPES)
def test_what_people_have_is_taken(tmp_path: Path, state: dict[str, Tensor], kind: str) -> None:
    loaded = load(tmp_path / "x.pt", SHAPES[kind](state)).state_dict()
    tolerance = {"rtol": 1e-3, "atol": 1e-3} if kind == "half" else {"rtol": 0, "atol": 0}
    for name, tensor in state.items():
        torch.testing.assert_close(loaded[name], tensor, **tolerance)


def test_a_backbone_with_compiled_parts_takes_plain_and_compiled_names() -> None:
    made = nn.Sequential(nn.Linear(3, 4), torch.compile(nn.Linear(4, D)))
    assert "1._orig_mod.weight" in made.state_dict()
    drawn = {name: torch.randn_like(tensor) for name, tensor in made.state_dict().items()}
    for content in (drawn, {name.replace("_orig_mod.", ""): tensor for name, tensor in drawn.items()}):
        made = nn.Sequential(nn.Linear(3, 4), torch.compile(nn.Linear(4, D)))
        load_weights(made, content, name="mine:Net", embedding_size=D)
        assert all(torch.equal(tensor, drawn[name]) for name, tensor in made.state_dict().items())


def test_what_was_taken_and_left_out_is_told(state: dict[str, Tensor]) -> None:
    content = {"net": {**prefixed(state, "module."), "module.head.weight": torch.zeros(9, D)}}
    told = load_weights(network(), content, name="convnet", embedding_size=D)
    assert told == "['net'], names that begin with 'module.'; 1 of a head left out"
    assert load_weights(network(), state, name="convnet", embedding_size=D) == "the file itself"


def test_a_file_from_before_torch_1_6_is_read(tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save(state, tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    loaded = load(tmp_path / "x.pt").state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())


def message(path: Path, content: Any = None, backbone: nn.Module | None = None) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(path, content, backbone)
    text = str(caught.value)
    assert len(text) < 1000, len(text)
    assert len(text.splitlines()) <= 6
    for unsafe in ("weights_only", "add_safe_globals", "allowlist"):
        assert unsafe not in text
    return text


def test_two_different_networks_are_not_chosen_from(tmp_path: Path, state: dict[str, Tensor]) -> None:
    averaged = {name: tensor + 1 for name, tensor in state.items()}
    text = message(tmp_path / "x.pt", {"model": state, "ema": prefixed(averaged, "module.")})
    assert (
        "several different networks in it fit convnet (['model']; ['ema'], names that begin with 'module.')"
        in text
    )


def test_a_deeper_network_of_the_same_names_is_refused_and_named(tmp_path: Path) -> None:
    """iresnet100 has every tensor of iresnet50, in the same shapes."""
    with torch.device("meta"):
        shapes = build_backbone("iresnet34", embedding_size=D).state_dict()
        backbone = build_backbone("iresnet18", embedding_size=D)
    content = {name: torch.zeros(()).expand(tensor.shape) for name, tensor in shapes.items()}
    with pytest.raises(CheckpointError) as caught:
        load_weights(backbone, content, name="iresnet18", embedding_size=D)
    first, compared, unplaced = str(caught.value).splitlines()
    assert first == "it does not fit iresnet18: it fits iresnet34; set backbone.name to it"
    mine = nn.ModuleDict({"projection": nn.Linear(3, D)})
    with pytest.raises(CheckpointError, match="none of the names is the same; it fits iresnet34; set"):
        load_weights(mine, content, name="mine:Net", embedding_size=D)
    assert compared.strip().endswith(
        f"of {len(backbone.state_dict())} tensors of iresnet18 it has {len(backbone.state_dict())}"
    )
    assert (
        "have no place in iresnet18: layer1.2.bn1.weight, layer1.2.bn1.bias, layer1.2.bn1.running_mean, ..."
        in unplaced
    )


def without(state: dict[str, Tensor], *names: str) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if name not in names}


def test_the_likely_cause_and_the_first_names_are_given(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = tmp_path / "x.pt"
    names = list(state)
    other = build_backbone(
        "convnet", embedding_size=32, image_size=32, channels=1, options={"widths": [8, 16]}
    )
    text = message(path, other.state_dict())
    assert "its embeddings have 32 numbers; set backbone.embedding_size to that" in text
    assert "have another shape: " in text
    assert "[24" in text
    colour = build_backbone(
        "convnet", embedding_size=D, image_size=32, channels=3, options={"widths": [8, 16]}
    )
    assert "another image size, number of channels or option" in message(path, colour.state_dict())
    larger = build_backbone(
        "convnet", embedding_size=D, image_size=64, channels=1, options={"widths": [8, 16]}
    )
    assert "another image size, number of channels or option" in message(path, larger.state_dict())
    text = message(path, without(state, names[0]))
    assert "smaller network, or only a part of one" in text
    assert f"1 are missing: {names[0]}" in text
    text = message(path, {**state, f"{names[0].split('.')[0]}.9.weight": torch.zeros(2, D)})
    assert "larger network" in text
    assert "1 have no place in convnet" in text
    assert "larger network" in message(path, {**state, "decoder.weight": torch.zeros(2, 3, D)})
    text = message(path, {**without(state, names[0]), "renamed": state[names[0]]})
    assert "a network with other layers" in text


def test_nothing_alike_is_said_in_three_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    text = message(path, {f"layer.{i}.{'x' * i}": torch.zeros(1) for i in range(300)})
    assert "of another network than convnet" in text
    assert "the file has 300 tensors: layer.0., layer.1.x, layer.2.xx, ..." in text
    assert "there is no state dict in it, only epoch, args: " in message(path, {"epoch": 3, "args": "x"})
    assert "there is no state dict in it: " in message(path, [1, 2])
    assert "there is no state dict in it: " in message(path, torch.zeros(3))
    assert "there is no state dict in it: " in message(path, {})


def test_a_whole_module_is_refused_with_the_way_to_save_it(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    resave = r"save it anew where the network was made: torch.save(model.state_dict(), 'weights.pt')"
    text = message(path, network())
    assert (
        "it is a whole module (partialfc.backbones.convnet.ConvNet), which is code and is not loaded" in text
    )
    assert resave in text
    text = message(path, {"epoch": 3, "net": network()})
    assert "it holds a whole object (partialfc.backbones.convnet.ConvNet) and no state dict" in text
    torch.save(network(), path, _use_new_zipfile_serialization=False)
    text = message(path)
    assert "it holds more than tensors" in text
    assert resave in text


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (
            lambda t: t.fill_(torch.nan),
            "has 8 of 8 numbers that are NaN or infinite: take weights from before",
        ),
        (
            lambda t: t.double().index_fill_(0, torch.tensor([3]), 1e39),
            "has 1 of 8 numbers that are NaN or inf",
        ),
        (lambda t: t.half().index_fill_(0, torch.tensor([3]), -torch.inf), "has 1 of 8 numbers"),
        (
            lambda t: t.to(torch.int8),
            "is of type int8, where the network has floats, as quantised weights are",
        ),
        (lambda t: t.to(torch.complex64), "is of type complex64, where the network has floats"),
    ],
)
def test_numbers_that_are_no_weights_are_refused_by_name(
    tmp_path: Path, state: dict[str, Tensor], change: Callable[[Tensor], Tensor], what: str
) -> None:
    name = next(name for name in state if name.endswith("running_var"))
    backbone = network()
    before = {key: tensor.clone() for key, tensor in backbone.state_dict().items()}
    text = message(tmp_path / "x.pt", {**state, name: change(state[name].clone())}, backbone)
    assert text.startswith(f"its tensor {name} {what}")
    assert all(torch.equal(tensor, before[key]) for key, tensor in backbone.state_dict().items())


@pytest.mark.parametrize("new", [True, False])
def test_quantised_weights_are_named(tmp_path: Path, state: dict[str, Tensor], new: bool) -> None:
    """Dynamic quantisation packs the matrices alone, static one all convolutions."""
    first = "layers.0.weight"
    quantised = {
        name: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8) if t.dim() == 4 else t
        for name, t in state.items()
    }
    packed = {"fc.scale": torch.tensor(1.0), "fc._packed_params._packed_params": (quantised[first], None)}
    for content, name in ((quantised, first), ({"model": packed}, "model.fc._packed_params._packed_params")):
        torch.save(content, tmp_path / "x.pt", _use_new_zipfile_serialization=new)
        assert message(tmp_path / "x.pt").startswith(
            f"it holds quantised weights ({name}), which are not loaded"
        )
