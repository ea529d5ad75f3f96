"""Models of others are opened as they are: InsightFace's backbone.pth and .onnx, and exports of strangers."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import normalize

import partialfc
from partialfc.backbones import build_backbone
from partialfc.deploy.export.export import Request, export_model
from partialfc.deploy.export.graph import Interface
from partialfc.deploy.norms import why_norms_say_nothing
from partialfc.deploy.trained import load_trained
from partialfc.errors import CheckpointError, ConfigError, DataError
from tests.deploy.export.cases import pixels, shaken, trained
from tests.processes import ENVIRONMENT

# As arcface_torch writes them: images of 112x112, embeddings of 512 numbers.
SIZES = {"embedding_size": 512, "image_size": 112, "channels": 3}


def network(name: str, **sizes: int) -> nn.Module:
    torch.manual_seed(0)
    return shaken(build_backbone(name, **{**SIZES, **sizes})).eval()


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("iresnet18", {}),
        ("iresnet34", {}),
        ("iresnet50", {"embedding_size": 256}),
        ("mobilefacenet", {}),
        ("convnet", {"image_size": 32, "channels": 1, "embedding_size": 64}),
    ],
    ids=["r18", "r34", "r50 with 256 numbers", "mbf", "ours, grey"],
)
def test_a_file_of_weights_tells_its_network(tmp_path: Path, name: str, sizes: dict[str, int]) -> None:
    wanted = network(name, **sizes)
    torch.save(wanted.state_dict(), tmp_path / "backbone.pth")
    opened = load_trained(tmp_path / "backbone.pth")
    assert opened.saved.name == name
    assert {key: getattr(opened, key) for key in SIZES} == {**SIZES, **sizes}
    for key, tensor in wanted.state_dict().items():
        assert torch.equal(opened.backbone.state_dict()[key], tensor)
    assert opened.classes is None
    assert "was trained in a way that is not known" in why_norms_say_nothing(opened)


def test_a_training_checkpoint_of_arcface_torch_is_opened(tmp_path: Path) -> None:
    state = {f"module.{name}": tensor for name, tensor in network("iresnet18").state_dict().items()}
    content = {
        "epoch": 3,
        "state_dict_backbone": state,
        "state_dict_softmax_fc": {"weight": torch.zeros(9, 512)},
    }
    torch.save(content, tmp_path / "checkpoint_gpu_0.pt")
    assert load_trained(tmp_path / "checkpoint_gpu_0.pt").saved.name == "iresnet18"


def test_a_name_says_which_where_it_is_known(tmp_path: Path) -> None:
    torch.save(network("mobilefacenet").state_dict(), tmp_path / "a.pth")
    assert load_trained(tmp_path / "a.pth", backbone="mobilefacenet").saved.name == "mobilefacenet"
    with pytest.raises(
        CheckpointError, match=r"a\.pth: its tensors tell of no network .* does not fit iresnet18"
    ):
        load_trained(tmp_path / "a.pth", backbone="iresnet18")
    with pytest.raises(
        ConfigError, match="--backbone is 'r50'; for a file of weights it must be one of iresnet18"
    ):
        load_trained(tmp_path / "a.pth", backbone="r50")
    torch.save(nn.Linear(3, 4).state_dict(), tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match=r"b\.pth: its tensors tell of no network that is known here"):
        load_trained(tmp_path / "b.pth")


@pytest.mark.parametrize("name", ["backbone.pth", "checkpoint_gpu_0.pt", "w600k_r50.onnx"])
def test_a_folder_with_a_network_in_it_says_which_file_to_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    (tmp_path / "training.log").touch()
    with pytest.raises(CheckpointError, match=f"neither a checkpoint nor a run .*; it has {name}: name that"):
        load_trained(tmp_path)


def insightface_onnx(path: Path, name: str = "iresnet18") -> nn.Module:
    """As arcface_torch's torch2onnx.py: one input, floats NCHW that are normalised, and no card."""
    wanted = network(name)
    program = torch.onnx.export(
        wanted,
        (torch.zeros(2, 3, 112, 112),),
        dynamo=True,
        input_names=["input.1"],
        output_names=["683"],
        dynamic_shapes=({0: torch.export.Dim("None", min=1)},),
        verbose=False,
    )
    program.save(str(path), external_data=False)
    return wanted


def test_an_onnx_of_insightface_is_opened(tmp_path: Path) -> None:
    wanted = insightface_onnx(tmp_path / "w600k_r50.onnx")
    opened = load_trained(tmp_path / "w600k_r50.onnx")
    assert {key: getattr(opened, key) for key in SIZES} == SIZES
    images = pixels(size=112)
    with torch.no_grad():
        rows = wanted(images.float() / 127.5 - 1)
    torch.testing.assert_close(normalize(opened(images)), normalize(rows), rtol=0, atol=1e-5)
    with pytest.raises(CheckpointError, match="has no centres of classes"):
        opened.top_k(rows, 1)
    with pytest.raises(ConfigError, match=r"is an \.onnx, which holds a graph and no network"):
        export_model(opened, tmp_path / "a", Request(format="huggingface"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export."""
    folder = tmp_path_factory.mktemp("export") / "model"
    export_model(trained(), folder, Request(format="huggingface"))
    return folder


def edited(file: Path, edit: Callable[[Any], Any]) -> None:
    document = json.loads(file.read_text())
    file.write_text(json.dumps(edit(document) or document))


DAMAGES: dict[str, tuple[Callable[[Path], Any], type[Exception], str]] = {
    "no weights": (
        lambda model: (model / "model.safetensors").unlink(),
        CheckpointError,
        r"model\.safetensors is missing: export the run again",
    ),
    "half of the weights": (
        lambda model: (model / "model.safetensors").write_bytes(
            (model / "model.safetensors").read_bytes()[:5000]
        ),
        CheckpointError,
        r"model\.safetensors: a damaged or truncated safetensors file",
    ),
    "weights of another network": (
        lambda model: save_file({"fc.weight": torch.zeros(2, 2)}, model / "model.safetensors"),
        CheckpointError,
        "it does not fit convnet: it is of a smaller network, or only a part of one",
    ),
    "a pickle": (
        lambda model: (model / "model.safetensors").write_bytes(b"\x80\x04cos\nsystem\n."),
        CheckpointError,
        r"model\.safetensors: ",
    ),
    "a card that is none": (
        lambda model: (model / "partialfc.json").write_text("{"),
        DataError,
        r"partialfc\.json: its card is no JSON",
    ),
    "a config that is none": (
        lambda model: (model / "config.json").write_text("[1]"),
        CheckpointError,
        r"config\.json: its config is no JSON object",
    ),
    "a network without a name": (
        lambda model: edited(model / "config.json", lambda config: config["backbone"].pop("name") and None),
        CheckpointError,
        r"config\.json does not say which network was trained: config\.backbone\.name is missing",
    ),
    "a network that would run code": (
        lambda model: edited(
            model / "config.json", lambda config: config["backbone"].update(name="os:system")
        ),
        ConfigError,
        "is code of the module 'os', and nothing that a checkpoint names is imported",
    ),
    "a network of no memory": (
        lambda model: edited(
            model / "config.json", lambda config: config["backbone"].update(embedding_size=10**12)
        ),
        CheckpointError,
        "no memory holds its convnet",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_export_that_a_stranger_wrote_is_checked(tmp_path: Path, whole: Path, damage: str) -> None:
    do, error, problem = DAMAGES[damage]
    model = shutil.copytree(whole, tmp_path / "model")
    do(model)
    with pytest.raises(error, match=problem):
        partialfc.from_pretrained(model)


@pytest.mark.parametrize(
    ("name", "error", "problem"),
    [
        ("./nothing", CheckpointError, "there is no such folder, and it is no name of a repository"),
        ("a/b/c", CheckpointError, "there is no such folder"),
    ],
)
def test_a_name_that_is_nothing_is_told(name: str, error: type[Exception], problem: str) -> None:
    with pytest.raises(error, match=problem):
        partialfc.from_pretrained(name)


def test_an_onnx_that_gives_no_embeddings_is_refused(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    made = helper.make_tensor_value_info
    node = helper.make_node("Relu", ["x"], ["y"])
    graph = helper.make_graph(
        [node], "a", [made("x", TensorProto.FLOAT, [1, 9])], [made("y", TensorProto.FLOAT, [1, 9])]
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), tmp_path / "a.onnx")
    with pytest.raises(
        DataError, match=r"a\.onnx: has no card of partialfc's, and is no network for embeddings"
    ):
        load_trained(tmp_path / "a.onnx")
    (tmp_path / "b.onnx").write_bytes(b"version https://git-lfs")
    with pytest.raises(DataError, match=r"b\.onnx: onnxruntime cannot open it"):
        load_trained(tmp_path / "b.onnx")


def test_rows_of_norm_one_say_nothing_of_quality(tmp_path: Path) -> None:
    how = Interface(unit=True)
    export_model(trained(), tmp_path / "a.onnx", Request(format="onnx", interface=how))
    opened = load_trained(tmp_path / "a.onnx")
    assert "gives rows of norm 1, all of them" in why_norms_say_nothing(opened)


def from_hub(home: Path, name: str, *, missing: bool = False) -> subprocess.CompletedProcess[str]:
    """`from_pretrained` of a repository that Hugging Face's package has got before, without a network."""
    program = f"""
import sys
if {missing}:
    sys.modules["huggingface_hub"] = None
import partialfc
print(partialfc.from_pretrained({name!r}).card.name)
"""
    environment = {**ENVIRONMENT, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_repository_of_the_hub_is_opened(tmp_path: Path, whole: Path) -> None:
    pytest.importorskip("huggingface_hub")
    kept = tmp_path / "hub" / "models--someone--shapes"
    shutil.copytree(whole, kept / "snapshots" / ("a" * 40))
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("a" * 40)
    done = from_hub(tmp_path, "someone/shapes")
    assert (done.returncode, done.stdout) == (0, "mine\n"), done.stderr
    done = from_hub(tmp_path, "someone/else")
    assert "CheckpointError: someone/else: no folder here, and the Hub does not give it: " in done.stderr
    done = from_hub(tmp_path, "someone/shapes", missing=True)
    assert (
        "MissingExtraError: someone/shapes is no folder here, and to get it from Hugging Face" in done.stderr
    )
