"""An .onnx, ours or InsightFace's, exported again: with a card that was measured, and in 8 bits."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.nn.functional import normalize

from partialfc.data.sources.source import open_source
from partialfc.deploy.export.export import Calibration, Request, export_model
from partialfc.deploy.export.graph import interface
from partialfc.deploy.export.measure import Measuring
from partialfc.deploy.trained import load_trained
from partialfc.errors import ConfigError
from partialfc.serving.model import open_model
from tests.deploy.export.cases import pixels, trained

SIDE, D = 8, 6


def insightface(path: Path, *, opset: int = 11) -> Path:
    """As torch wrote it once: opset 11, constants among the inputs, PRelu; a batch of 1
    at the output; and a licence in its metadata.
    """
    generator = np.random.default_rng(0)
    constants = {
        "w": generator.standard_normal((4, 1, 3, 3)),
        "slope": np.full((4, 1, 1), 0.25),
        "fc": generator.standard_normal((4 * SIDE * SIDE, D)) / 10,
    }
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()]
    nodes = [
        helper.make_node("Conv", ["input.1", "w"], ["a"], name="conv", pads=[1] * 4),
        helper.make_node("PRelu", ["a", "slope"], ["b"], name="prelu"),
        helper.make_node("Flatten", ["b"], ["c"], name="flat"),
        helper.make_node("MatMul", ["c", "fc"], ["683"], name="fc"),
    ]
    shapes = [
        ("input.1", ["None", 1, SIDE, SIDE]),
        *((name, value.shape) for name, value in constants.items()),
    ]
    graph = helper.make_graph(
        nodes,
        "torch-jit-export",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes],
        [helper.make_tensor_value_info("683", TensorProto.FLOAT, [1, D])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=6)
    model.metadata_props.add(key="licence", value="for research alone")
    onnx.save(model, str(path))
    return path


def test_insightfaces_gets_a_card_and_gives_the_same_rows(tmp_path: Path, data: Path) -> None:
    before = load_trained(insightface(tmp_path / "w600k.onnx"))
    measuring = Measuring(sets={"seen": data / "pairs.bin"}, replicates=20)
    request = Request(format="onnx", measuring=measuring, licence="research", data="WebFace600K")
    done = export_model(before, tmp_path / "a.onnx", request)
    assert (done.difference, done.opset) == (0, 11)
    after, images = load_trained(tmp_path / "a.onnx"), pixels(channels=1, size=SIDE)
    assert torch.equal(after(images), before(images))
    assert (after.card.name, after.card.data, after.card.licence.weights) == (
        "w600k",
        "WebFace600K",
        "research",
    )
    assert after.card.weights == before.card.weights
    assert [each.far for each in after.card.thresholds] == [1e-1, 1e-2]
    model = onnx.load(tmp_path / "a.onnx")
    assert "PRelu" not in {node.op_type for node in model.graph.node}
    assert "for research alone" in {each.value for each in model.metadata_props}


def test_insightfaces_in_8_bits(tmp_path: Path, data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = load_trained(insightface(tmp_path / "w600k.onnx"))
    int8 = Calibration(source=open_source(data / "train.rec"), images=40)
    done = export_model(before, tmp_path / "a.onnx", Request(format="onnx", int8=int8))
    assert done.card.precision == "int8"
    assert done.opset >= 13
    assert capfd.readouterr().err == ""  # onnxruntime warns of batches that are none of one
    after, images = load_trained(tmp_path / "a.onnx"), pixels(channels=1, size=SIDE)
    assert (normalize(after(images)) * normalize(before(images))).sum(1).min() > 0.99
    kinds = {each.data_type for each in onnx.load(tmp_path / "a.onnx").graph.initializer}
    assert TensorProto.INT8 in kinds
    with pytest.raises(ConfigError, match=r"a\.onnx is in 8 bits already: leave --int8 out"):
        export_model(after, tmp_path / "b.onnx", Request(format="onnx", int8=int8))


def test_ours_keeps_what_is_inside(tmp_path: Path) -> None:
    how = interface(pixels=True, channels_last=True, flip="concat", unit=True)
    first = export_model(trained(), tmp_path / "a.onnx", Request(format="onnx", interface=how, data="shapes"))
    opened = load_trained(tmp_path / "a.onnx")
    again = export_model(opened, tmp_path / "b.onnx", Request(format="onnx"))
    assert (again.card, again.opset, again.difference) == (first.card, first.opset, 0)
    images = pixels().permute(0, 2, 3, 1).numpy()
    rows = [open_model(tmp_path / name).embed(images) for name in ("a.onnx", "b.onnx")]
    assert np.array_equal(*rows)


def test_what_a_graph_alone_cannot_become_is_told(tmp_path: Path) -> None:
    opened = load_trained(insightface(tmp_path / "w600k.onnx"))
    for format, name in (("safetensors", "a.safetensors"), ("torch", "a.pt2"), ("huggingface", "a")):
        with pytest.raises(ConfigError, match=r"w600k\.onnx is an \.onnx, .* name an OUT\.onnx, or export"):
            export_model(opened, tmp_path / name, Request(format=format))
    how = interface(pixels=True, channels_last=False, flip="none", unit=True)
    with pytest.raises(
        ConfigError, match=r"whose graph stays as it is: leave --input, --layout, --flip, --un"
    ):
        export_model(opened, tmp_path / "a.onnx", Request(format="onnx", interface=how))
    assert [each.name for each in tmp_path.iterdir()] == ["w600k.onnx"]
