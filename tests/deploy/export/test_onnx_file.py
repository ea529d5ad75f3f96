"""The .onnx gives by onnxruntime what the network gives by torch: each family, each interface, any batch."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch.nn.functional import normalize

from partialfc.deploy.export.graph import Graph, Interface, interface
from partialfc.deploy.export.onnx_file import onnx_of, write_onnx
from partialfc.errors import ConfigError, ExportError
from partialfc.serving.card import Card
from partialfc.serving.runtime import onnxruntime
from tests.deploy.export.cases import FAMILIES, SIZE, D, pixels, trained

CARD = Card(name="mine", image_size=SIZE, channels=3, embedding_size=D)
PIXELS = interface(pixels=True, channels_last=False, flip="none", unit=True)


def written(folder: Path, graph: Graph, *, opset: int = 18) -> Any:
    write_onnx(onnx_of(graph, opset=opset), folder / "a.onnx", CARD)
    return onnxruntime().InferenceSession(str(folder / "a.onnx"))


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_gives_the_same_rows_in_any_batch(tmp_path: Path, name: str) -> None:
    network = trained(name)
    session = written(tmp_path, Graph(network, PIXELS))
    for count in (1, 2, 7):
        images = pixels(count, seed=count)
        (rows,) = session.run(["embeddings"], {"images": images.numpy()})
        assert rows.shape == (count, D)
        np.testing.assert_allclose(rows, normalize(network(images)).numpy(), atol=1e-4)


@pytest.mark.parametrize(
    ("flip", "takes"),
    [
        ("sum", "uint8 NCHW"),
        ("concat", "float32 NCHW"),
        ("none", "float32 NHWC"),
        ("concat", "uint8 NHWC"),
    ],
    ids=["sum of pixels", "concat of floats", "floats as decoded", "concat of pixels as decoded"],
)
def test_normalisation_layout_flip_and_norm_are_inside(tmp_path: Path, flip: str, takes: str) -> None:
    """With norms where the pixels go in, without where floats do."""
    network, images = trained(), pixels()
    dtype, layout = takes.split()
    unit = dtype == "uint8"
    how = interface(pixels=dtype == "uint8", channels_last=layout == "NHWC", flip=flip, unit=unit)
    given = images.numpy() if dtype == "uint8" else (images.numpy() / 127.5 - 1).astype(np.float32)
    given = given.transpose(0, 2, 3, 1) if layout == "NHWC" else given
    (rows,) = written(tmp_path, Graph(network, how)).run(None, {"images": given})
    own, mirrored = network(images), network(images.flip(-1))
    wanted = {"none": own, "sum": own + mirrored, "concat": torch.cat([own, mirrored], 1)}[flip]
    np.testing.assert_allclose(rows, (normalize(wanted) if unit else wanted).numpy(), rtol=1e-4, atol=1e-4)


def test_uncertainty_is_a_second_output(tmp_path: Path) -> None:
    network, images = trained(probabilistic=True), pixels()
    session = written(tmp_path, Graph(network, PIXELS))
    means, log_variances = session.run(["embeddings", "log_variances"], {"images": images.numpy()})
    wanted = network.gaussians(images).numpy()
    np.testing.assert_allclose(np.concatenate([means, log_variances], 1), wanted, atol=1e-4)
    with pytest.raises(ConfigError, match=r"--flip sum joins two rows, and .* gives Gaussians"):
        Graph(network, Interface(flip="sum"))


@pytest.mark.parametrize("opset", [20, 23])
def test_the_opset_is_the_one_asked_for(tmp_path: Path, opset: int) -> None:
    network, images = trained(), pixels()
    session = written(tmp_path, Graph(network, PIXELS), opset=opset)
    model = onnx.load(tmp_path / "a.onnx")
    assert [each.version for each in model.opset_import if each.domain == ""] == [opset]
    (rows,) = session.run(None, {"images": images.numpy()})
    np.testing.assert_allclose(rows, normalize(network(images)).numpy(), atol=1e-4)


def test_the_file_has_its_card_and_nothing_of_this_machine(tmp_path: Path) -> None:
    session = written(tmp_path, Graph(trained(), PIXELS))
    metadata = session.get_modelmeta()
    assert metadata.producer_name == "partialfc"
    assert Card.from_json(metadata.custom_metadata_map["partialfc"], origin="a.onnx") == CARD
    assert not re.search(rb"/[\w.-]+/[\w./-]+\.py|stack_trace", (tmp_path / "a.onnx").read_bytes())


def test_a_network_of_more_than_2_gb_is_refused_before_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partialfc.deploy.export.onnx_file.LARGEST", 1000)
    with pytest.raises(ExportError, match=r"more than 2 GB of weights, .* write a \.safetensors or"):
        onnx_of(Graph(trained(), PIXELS))


class Choosy(torch.nn.Module):
    """What it does depends on the pixels, which no graph shows."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        rows = images.flatten(1)[:, :D]
        return rows if float(images.sum()) > 0 else -rows


def test_a_network_that_torch_cannot_export_is_told_in_one_line() -> None:
    graph = Graph(replace(trained(), backbone=Choosy()), PIXELS)
    with pytest.raises(ExportError, match="torch's ONNX exporter cannot take this network: ") as raised:
        onnx_of(graph)
    assert len(str(raised.value).splitlines()) == 1
