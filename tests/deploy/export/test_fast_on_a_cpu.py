"""What onnxruntime is slow at on a CPU is not in what is exported: PRelu, and some products in 8 bits."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from partialfc.deploy.export.graph import Graph, interface
from partialfc.deploy.export.int8 import quantised
from partialfc.deploy.export.onnx_file import onnx_of
from partialfc.deploy.export.prelu import without_prelu
from partialfc.serving.runtime import onnxruntime
from tests.deploy.export.cases import D, trained

PIXELS = interface(pixels=True, channels_last=False, flip="none", unit=True)
SLOPES = {
    "all at most 1": [0.25, 1.0, -0.5, 0.0],
    "some above 1": [0.25, 1.5, -0.5, 1.0],
}


def given(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime().InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (rows,) = session.run(None, {"x": x})
    return rows


@pytest.mark.parametrize("slopes", SLOPES.values(), ids=SLOPES)
def test_prelu_gives_the_same_bits_without_the_operator(slopes: list[float]) -> None:
    """Two of them in a row, which share their slopes."""
    shape = ["n", 4, 5, 5]
    graph = helper.make_graph(
        [helper.make_node("PRelu", ["x", "s"], ["y"]), helper.make_node("PRelu", ["y", "s"], ["z"])],
        "two",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.array(slopes, np.float32).reshape(4, 1, 1), "s")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    x = np.random.default_rng(0).standard_normal((3, 4, 5, 5)).astype(np.float32)
    before = given(model, x)
    without_prelu(model)
    onnx.checker.check_model(model, full_check=True)
    assert "PRelu" not in {node.op_type for node in model.graph.node}
    assert np.array_equal(given(model, x), before)


def test_no_export_has_a_prelu() -> None:
    model = onnx_of(Graph(trained("mobilefacenet"), PIXELS))
    assert "PRelu" not in {node.op_type for node in model.graph.node}


class Grouped(nn.Module):
    """Convolutions in groups of 1, 2, 4 and 8 channels, and a plain one."""

    def __init__(self) -> None:
        super().__init__()
        groups = {"depthwise": 32, "two": 16, "four": 8, "eight": 4, "plain": 1}
        self.convs = nn.Sequential(
            nn.Conv2d(3, 32, 1), *(nn.Conv2d(32, 32, 3, padding=1, groups=each) for each in groups.values())
        )
        self.fc = nn.Linear(32, D)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        embeddings: torch.Tensor = self.fc(self.convs(images).mean((2, 3)))
        return embeddings


def test_groups_of_few_channels_stay_in_float32(tmp_path: Path) -> None:
    """onnxruntime's products of them in 8 bits took six times as long as those in float32."""
    torch.manual_seed(0)
    graph = Graph(replace(trained(), backbone=Grouped().eval()), PIXELS)
    small = quantised(onnx_of(graph), [graph.examples(4).numpy()])
    types = {each.name: each.data_type for each in small.graph.initializer}
    dequantised = {
        node.output[0]: types.get(node.input[0])
        for node in small.graph.node
        if node.op_type == "DequantizeLinear"
    }
    weights = {
        _groups(node): dequantised.get(node.input[1]) for node in small.graph.node if node.op_type == "Conv"
    }
    assert weights == {
        (1, 1): TensorProto.INT8,
        (32, 3): TensorProto.INT8,
        (16, 3): None,
        (8, 3): None,
        (4, 3): TensorProto.INT8,
        (1, 3): TensorProto.INT8,
    }


def _groups(node: onnx.NodeProto) -> tuple[int, int]:
    """How many groups, and the side of the filter."""
    of = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    return of.get("group", 1), of["kernel_shape"][0]
