"""Whole exports: each format opened again, what is in the folder, and what is refused without a trace."""

import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn
from torch.nn.functional import normalize

import partialfc
from partialfc.data.images.codec import decode, encode_jpeg, resize
from partialfc.data.sources.source import open_source
from partialfc.deploy.export.export import Calibration, Request, export_model
from partialfc.deploy.export.graph import Graph, interface
from partialfc.deploy.export.int8 import calibration
from partialfc.deploy.export.measure import Measuring
from partialfc.deploy.export.out import format_of
from partialfc.deploy.export.readme import readme
from partialfc.deploy.trained import load_trained
from partialfc.errors import CheckpointError, ConfigError, DataError, ExportError
from partialfc.serving.card import Card, CardInput, read_card
from partialfc.serving.model import open_model
from tests.deploy.export.cases import D, pixels, trained
from tests.train_cases import CLASSES

PIXELS = interface(pixels=True, channels_last=False, flip="none", unit=True)
FOLDER = {"README.md", "config.json", "model.onnx", "model.safetensors", "partialfc.json"}


def measuring(data: Path) -> Measuring:
    return Measuring(sets={"seen": data / "pairs.bin"}, replicates=20)


@pytest.mark.parametrize("name", ["a.onnx", "a.safetensors", "a"])
@pytest.mark.parametrize("flip", ["none", "concat"])
def test_what_is_exported_is_opened_again_and_gives_the_same(tmp_path: Path, name: str, flip: str) -> None:
    network, images = trained(), pixels()
    how = interface(pixels=True, channels_last=False, flip=flip, unit=True)  # type: ignore[arg-type]
    out = tmp_path / name
    done = export_model(network, out, Request(format=format_of(out, None), interface=how))
    assert done.difference is None if name == "a.safetensors" else done.difference < 1e-4
    wanted = network(images)
    if flip == "concat" and name != "a.safetensors":  # which holds the network alone
        wanted = torch.cat([wanted, network(images.flip(-1))], 1)
    opened = load_trained(out)
    assert (opened.embedding_size, opened.num_classes, opened.step) == (wanted.shape[1], CLASSES, 7)
    torch.testing.assert_close(normalize(opened(images)), normalize(wanted), atol=1e-4, rtol=0)
    assert done.card.name == opened.card.name == "mine"
    if name != "a.safetensors":
        rows = open_model(out).embed(images.permute(0, 2, 3, 1).numpy())
        np.testing.assert_allclose(rows, normalize(wanted).numpy(), atol=1e-4)
        assert open_model(out).card.identity == done.card.identity


def test_a_program_of_torch_export_runs_without_the_package(tmp_path: Path) -> None:
    network, images = trained(), pixels(5)
    out = tmp_path / "a.pt2"
    done = export_model(network, out, Request(format="torch", interface=PIXELS))
    assert done.difference < 1e-4
    extra = {"partialfc.json": ""}
    rows = torch.export.load(str(out), extra_files=extra).module()(images)
    torch.testing.assert_close(rows, normalize(network(images)), atol=1e-4, rtol=0)
    assert json.loads(extra["partialfc.json"])["backbone"] == "convnet"
    with pytest.raises(CheckpointError, match=r"a\.pt2: it is a program of torch\.export"):
        load_trained(out)


@pytest.mark.parametrize("name", ["a.safetensors", "a"])
def test_uncertainty_comes_along(tmp_path: Path, name: str) -> None:
    network, images = trained(probabilistic=True), pixels()
    out = tmp_path / name
    export_model(network, out, Request(format=format_of(out, None), interface=PIXELS))
    torch.testing.assert_close(load_trained(out).gaussians(images), network.gaussians(images))


def test_the_memory_format_of_the_run_comes_along(tmp_path: Path) -> None:
    """Sums round by it, and evaluate computes in that of the run."""
    network = trained()
    kept = replace(network, saved=replace(network.saved, channels_last=True))
    export_model(kept, tmp_path / "a.safetensors", Request(format="safetensors"))
    assert load_trained(tmp_path / "a.safetensors").channels_last
    assert not network.channels_last


def test_a_folder_is_laid_out_as_hugging_face_expects(tmp_path: Path, data: Path) -> None:
    network = trained(channels=1)
    request = Request(
        format="huggingface",
        interface=PIXELS,
        measuring=measuring(data),
        data="drawn shapes",
        licence="apache-2.0",
        data_licence="CC0",
    )
    done = export_model(network, tmp_path / "model", request)
    assert {file.name for file in (tmp_path / "model").iterdir()} == FOLDER
    assert done.size == sum(file.stat().st_size for file in (tmp_path / "model").iterdir())
    assert read_card(tmp_path / "model") == done.card
    (result,) = done.measured.results.values()
    of = {figure.name: figure for figure in done.card.figures}
    assert of["accuracy"].value == result.accuracy
    assert of["accuracy"].low <= result.accuracy <= of["accuracy"].high
    _, header, body = (tmp_path / "model" / "README.md").read_text().split("---\n", 2)
    header = yaml.safe_load(header)
    assert (header["license"], header["library_name"]) == ("apache-2.0", "partialfc")
    assert {each["type"] for each in header["model-index"][0]["results"][0]["metrics"]} >= {
        "accuracy",
        "roc_auc",
    }
    for said in ("drawn shapes", "| classes | 20 |", "CC0", f"{result.accuracy:.2%}", "from_pretrained"):
        assert said in body
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["backbone"]["name"] == "convnet"
    opened = partialfc.from_pretrained(tmp_path / "model")
    assert opened.card == done.card
    with pytest.raises(CheckpointError, match="has no centres of classes: give the folder of the run"):
        opened.centres()


@pytest.mark.parametrize(
    ("channels", "size", "pixels", "channels_last"),
    [(3, 50, True, False), (1, 50, False, True), (3, 20, False, False), (1, 32, True, True)],
    ids=["smaller", "smaller-grey-floats", "larger-floats", "as-it-is"],
)
def test_the_code_of_the_readme_gives_the_rows_that_embed_gives(
    tmp_path: Path, channels: int, size: int, *, pixels: bool, channels_last: bool
) -> None:
    how = interface(pixels=pixels, channels_last=channels_last, flip="none", unit=True)
    request = Request(format="huggingface", interface=how)
    export_model(trained(channels=channels), tmp_path / "model", request)
    image = np.random.default_rng(0).integers(256, size=(size, size, 3), dtype=np.uint8)
    (tmp_path / "a.jpg").write_bytes(encode_jpeg(image))
    decoded = resize(decode(encode_jpeg(image), channels=channels), 32)
    expected = open_model(tmp_path / "model").embed(decoded[None])
    reading, by_partialfc, by_onnxruntime = re.findall(
        r"```python\n(.*?)```", (tmp_path / "model" / "README.md").read_text(), re.DOTALL
    )
    for code in (by_partialfc, by_onnxruntime):
        told = f"{reading}{code}".replace("FOLDER", str(tmp_path / "model"))
        found: dict[str, Any] = {}
        exec(told.replace("IMAGE", str(tmp_path / "a.jpg"), 1), found)
        np.testing.assert_allclose(np.asarray(found["embeddings"].data), expected, atol=1e-5)


def test_the_readme_says_of_weights_that_others_trained_only_who_exported_them():
    card = Card(name="mine", image_size=12, channels=3, embedding_size=8, input=CardInput())
    assert "class. Exported with partialfc." in readme(card, files={})
    assert "class. Trained and exported with partialfc." in readme(replace(card, step=7), files={})


def test_thresholds_give_their_rates_by_the_file_itself(tmp_path: Path, data: Path) -> None:
    """Each accepts no more impostors than it says, and the genuine pairs that it says."""
    from partialfc.data.pairs.files import read_pairs
    from partialfc.evaluation.embed import embed
    from partialfc.evaluation.verification import pair_scores

    out = tmp_path / "a.onnx"
    done = export_model(
        trained(channels=1), out, Request(format="onnx", interface=PIXELS, measuring=measuring(data))
    )
    pairs, opened = read_pairs(data / "pairs.bin"), load_trained(out)
    rows = embed(opened.backbone, pairs.images, image_size=32, channels=1, device=torch.device("cpu"))
    scores = pair_scores(rows.numpy())
    assert [each.far for each in done.card.thresholds] == [1e-1, 1e-2]  # of 100 impostors
    for each in done.card.thresholds:
        accepted = scores >= each.threshold
        assert np.mean(accepted[~pairs.same]) <= each.far
        assert np.mean(accepted[pairs.same]) == each.tar


def test_int8_is_smaller_and_its_cost_is_told(tmp_path: Path, data: Path) -> None:
    calibrating = Calibration(source=open_source(data / "train.rec"), images=40)
    request = Request(format="huggingface", interface=PIXELS, measuring=measuring(data), int8=calibrating)
    network = trained(channels=1, options={})
    done = export_model(network, tmp_path / "model", request)
    large, small = (tmp_path / "model" / name for name in ("model.onnx", "model_int8.onnx"))
    assert small.stat().st_size < large.stat().st_size / 3
    opened, images = load_trained(small), pixels(channels=1)
    assert opened.card.precision == "int8"
    batches = calibration(Graph(network, PIXELS), calibrating.source, count=40)
    given = torch.from_numpy(np.concatenate([*batches]))
    cosines = (normalize(opened(given)) * normalize(network(given))).sum(1)
    assert done.cosine == pytest.approx(cosines.min().item(), abs=1e-5)
    assert (normalize(opened(images)) * normalize(network(images))).sum(1).min() > 0.9
    (before,), (after,) = done.measured.results.values(), done.int8.results.values()
    assert (before.dtype, after.dtype) == ("float32", "int8")
    figures = {(figure.set, figure.name): figure.value for figure in opened.card.figures}
    assert figures["seen", "accuracy"] == after.accuracy
    assert figures["seen, float32", "accuracy"] == before.accuracy
    assert opened.card.thresholds != done.card.thresholds
    assert opened.card.identity != done.card.identity
    readme = (tmp_path / "model" / "README.md").read_text()
    assert "| in 8 bits |" in readme
    assert f"{after.accuracy:.2%}" in readme
    assert "| FAR | cosine | cosine in 8 bits | TAR |" in readme
    for card in (done.card, opened.card):
        assert f"| {card.thresholds[0].threshold:.4f} |" in readme


def test_an_export_is_exported_again(tmp_path: Path) -> None:
    """With the mirrored image as it was, and the card's words."""
    how = interface(pixels=True, channels_last=False, flip="sum", unit=True)
    first = export_model(
        trained(), tmp_path / "a", Request(format="huggingface", interface=how, data="faces", licence="mit")
    )
    again = export_model(
        load_trained(tmp_path / "a"), tmp_path / "b.onnx", Request(format="onnx", interface=PIXELS)
    )
    assert again.card == first.card


# What is refused


class OneBatch(nn.Module):
    """Its batch's size becomes part of the graph."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, :D] * len(images)


class Random(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, :D] + torch.rand(1)


@pytest.mark.parametrize(
    ("network", "problem"),
    [(OneBatch, "a batch of 1 does not go through it"), (Random, "it gives other rows than the network, by")],
)
def test_a_file_that_gives_something_else_is_not_left(
    tmp_path: Path, network: type[nn.Module], problem: str
) -> None:
    (tmp_path / "a.onnx").write_bytes(b"what was there before")
    with pytest.raises(ExportError, match=problem):
        export_model(
            replace(trained(), backbone=network()),
            tmp_path / "a.onnx",
            Request(format="onnx", interface=PIXELS),
        )
    assert [file.name for file in tmp_path.iterdir()] == ["a.onnx"]
    assert (tmp_path / "a.onnx").read_bytes() == b"what was there before"


def test_a_folder_that_is_no_export_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("of years")
    with pytest.raises(ConfigError, match="where something else lies already"):
        export_model(trained(), tmp_path / "mine", Request(format="huggingface", interface=PIXELS))
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "of years"
    with pytest.raises(ConfigError, match="for the format onnx it must be a file"):
        export_model(trained(), tmp_path / "mine", Request(format="onnx", interface=PIXELS))
    with pytest.raises(ConfigError, match="it must be a file in a folder that exists"):
        export_model(trained(), tmp_path / "no" / "a.onnx", Request(format="onnx", interface=PIXELS))


def test_what_does_not_go_together_is_named(tmp_path: Path, data: Path) -> None:
    with pytest.raises(ConfigError, match=r"OUT is 'a\.bin'; its suffix must be one of \.onnx"):
        format_of(Path("a.bin"), None)
    calibration = Calibration(source=open_source(data / "train.rec"))
    with pytest.raises(ConfigError, match=r"--int8 is of an \.onnx, and the format is torch"):
        export_model(trained(), tmp_path / "a.pt2", Request(format="torch", int8=calibration))
    bad = Measuring(sets={"seen": data / "pairs.bin"}, max_pixels=3)
    with pytest.raises(DataError, match=r"seen, .*pairs\.bin"):
        export_model(trained(), tmp_path / "a.safetensors", Request(format="safetensors", measuring=bad))
    assert not [*tmp_path.iterdir()]


def test_no_file_of_an_export_is_a_pickle(tmp_path: Path) -> None:
    """Those of the folder; a program of torch.export holds one of torch's own, of the example's tensor."""
    export_model(trained(), tmp_path / "a", Request(format="huggingface", interface=PIXELS))
    for file in (tmp_path / "a").iterdir():
        assert not zipfile.is_zipfile(file)
        assert file.read_bytes()[:1] != b"\x80" or file.suffix == ".safetensors"
