"""Models out of .onnx files, exported folders and runs: the same rows for the same images."""

from dataclasses import replace

import numpy as np
import pytest

from partialfc.errors import CheckpointError, ConfigError, DataError
from partialfc.serving.card import Card
from partialfc.serving.model import open_model
from tests.processes import call
from tests.serving.cases import CARD, SIZE, WIDTH, matrix, pictures, rows, taking, write_onnx
from tests.train_cases import saved_config

INTERFACES = [
    pytest.param(taking(), id="floats"),
    pytest.param(taking(normalised=True), id="floats-normalised-inside"),
    pytest.param(taking("NHWC", "uint8", True), id="nhwc-pixels"),
    pytest.param(taking("NHWC"), id="nhwc-floats"),
    pytest.param(taking("NCHW", "uint8", True), id="pixels"),
    pytest.param(taking(card=replace(CARD, channels=1)), id="grey"),
]


@pytest.mark.parametrize("card", INTERFACES)
def test_an_export_gives_its_rows_with_norm_1(tmp_path, card):
    model = open_model(write_onnx(tmp_path / "small.onnx", card), threads=1)
    images = pictures(5, card)
    found = model.embed(images)
    assert (model.card, found.dtype) == (card, np.float32)
    assert (model.image_size, model.channels, model.embedding_size) == (SIZE, card.channels, WIDTH)
    np.testing.assert_allclose(found, rows(images, card), atol=1e-5)
    assert model.embed(images[:0]).shape == (0, WIDTH)


def test_a_graph_for_batches_of_one_size_takes_any(tmp_path):
    model = open_model(write_onnx(tmp_path / "small.onnx", batch=2))
    images = pictures(5)
    np.testing.assert_allclose(model.embed(images), rows(images), atol=1e-5)


def test_an_exported_folder_is_opened_by_its_onnx(tmp_path):
    CARD.write(tmp_path)
    write_onnx(tmp_path / "model.onnx")
    images = pictures(3)
    np.testing.assert_allclose(open_model(tmp_path).embed(images), rows(images), atol=1e-5)
    write_onnx(tmp_path / "model_int8.onnx", seed=1)
    np.testing.assert_allclose(open_model(tmp_path).embed(images), rows(images), atol=1e-5)
    (tmp_path / "model.onnx").rename(tmp_path / "other.onnx")
    with pytest.raises(DataError, match=r"several \.onnx files"):
        open_model(tmp_path)


@pytest.mark.parametrize(
    ("names", "normalised"),
    [
        (("subtract", "multiply"), False),
        (("_minusscalar0", "_mulscalar0"), True),
        (("Sub_0", "Mul_1"), True),
    ],
    ids=["torch", "mxnet", "capitals"],
)
def test_a_model_without_a_card_is_taken_as_insightfaces(tmp_path, names, normalised):
    """Those that normalise pixels themselves are told by the names of their first nodes."""
    card = taking(normalised=normalised)
    path = write_onnx(tmp_path / "w600k.onnx", card, with_card=False, names=names)
    model, images = open_model(path), pictures(4)
    np.testing.assert_allclose(model.embed(images), rows(images), atol=1e-5)
    assert model.card.name == "w600k"
    assert model.card.step is None
    other = open_model(write_onnx(tmp_path / "other.onnx", card, with_card=False, seed=1))
    assert other.card.identity != model.card.identity


def test_one_of_both_nodes_normalises_nothing(tmp_path):
    path = write_onnx(
        tmp_path / "x.onnx", taking(normalised=True), with_card=False, names=("Sub_0", "divide")
    )
    assert not open_model(path).card.input.normalised


def test_nodes_further_on_normalise_nothing(tmp_path):
    """InsightFace's own reader looks at eight."""
    import onnx
    from onnx import helper

    path = write_onnx(tmp_path / "x.onnx", taking(normalised=True), with_card=False, names=("Sub_0", "Mul_1"))
    model = onnx.load(str(path))
    for number in range(7):
        node = helper.make_node("Constant", [], [f"unused{number}"], name="c", value_float=0.0)
        model.graph.node.insert(0, node)
    onnx.save(model, str(path))
    assert not open_model(path).card.input.normalised
    model.graph.node.pop(0)
    onnx.save(model, str(path))
    assert open_model(path).card.input.normalised


def test_a_graph_without_a_card_that_takes_something_else_is_refused(tmp_path):
    path = write_onnx(tmp_path / "x.onnx", taking("NCHW", "uint8", True), with_card=False)
    with pytest.raises(DataError, match=r"x\.onnx: has no card .* takes tensor\(uint8\)"):
        open_model(path)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        pytest.param(replace(CARD, image_size=13), r"takes float32 \[n, 3, 13, 13\], but", id="image-size"),
        pytest.param(taking("NHWC"), r"takes float32 \[n, 12, 12, 3\], but", id="layout"),
        pytest.param(taking("NCHW", "uint8", True), "takes uint8", id="dtype"),
        pytest.param(replace(CARD, embedding_size=9), "rows have 9 numbers, but", id="embedding-size"),
    ],
)
def test_a_card_that_does_not_fit_its_graph_is_refused(tmp_path, written, says):
    import onnx

    path = write_onnx(tmp_path / "small.onnx")
    model = onnx.load(str(path))
    model.metadata_props[0].value = written.to_json()
    onnx.save(model, str(path))
    with pytest.raises(DataError, match=says):
        open_model(path)


@pytest.mark.parametrize("number", [0.0, np.nan, np.inf], ids=["zero", "nan", "inf"])
def test_a_row_without_a_direction_is_named(tmp_path, number):
    bad = np.where(matrix() == 0, 0, np.float32(0)) if number == 0 else np.full_like(matrix(), number)
    model = open_model(write_onnx(tmp_path / "small.onnx", weights=bad.astype(np.float32)))
    with pytest.raises(DataError, match=r"the embedding of face 0 is zero or not finite"):
        model.embed(pictures(2), name=lambda index: f"face {index}")


def test_very_large_and_very_small_rows_have_norm_1(tmp_path):
    for factor in (1e30, 1e-30):
        model = open_model(write_onnx(tmp_path / "small.onnx", weights=matrix() * np.float32(factor)))
        images = pictures(2)
        np.testing.assert_allclose(model.embed(images), rows(images), atol=1e-5)


@pytest.mark.parametrize(
    "images",
    [np.zeros((2, SIZE, SIZE, 3), np.float32), np.zeros((2, 3, SIZE, SIZE), np.uint8), np.zeros(3, np.uint8)],
    ids=["floats", "planes", "flat"],
)
def test_other_arrays_are_refused(tmp_path, images):
    model = open_model(write_onnx(tmp_path / "small.onnx"))
    with pytest.raises(ValueError, match=rf"must be uint8 \[n, {SIZE}, {SIZE}, 3\]"):
        model.embed(images)


def test_what_is_no_model_is_named(tmp_path):
    (tmp_path / "x.onnx").write_text("nothing")
    with pytest.raises(DataError, match=r"x\.onnx: onnxruntime cannot open it"):
        open_model(tmp_path / "x.onnx")
    with pytest.raises(DataError, match=r"y\.onnx: does not exist"):
        open_model(tmp_path / "y.onnx")
    with pytest.raises(CheckpointError, match="no_run"):
        open_model(tmp_path / "no_run")


def test_threads_and_devices_that_are_none(tmp_path):
    path = write_onnx(tmp_path / "small.onnx")
    with pytest.raises(ValueError, match="threads is 0; it must be 1 or more"):
        open_model(path, threads=0)
    with pytest.raises(ConfigError, match=r"device is 'abacus'; this onnxruntime has .*cpu"):
        open_model(path, device="abacus")
    assert open_model(path, device="auto").embed(pictures(1)).shape == (1, WIDTH)


TRUST = ("tests.train_cases",)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    done = call("train", saved_config(folder, "train.steps=2", "schedule.warmup_steps=0"), cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_a_run_gives_the_rows_that_evaluate_has(run):
    import torch

    from partialfc.data.images.codec import encode_png
    from partialfc.evaluation.embed import embed
    from partialfc.trained import load_trained

    model, trained = open_model(run, threads=1, trust=TRUST), load_trained(run, trust=TRUST)
    card = Card(name="", image_size=model.image_size, channels=model.channels, embedding_size=1)
    images = pictures(6, card)
    expected = embed(
        trained.backbone,
        [encode_png(each) for each in images],
        image_size=trained.image_size,
        channels=trained.channels,
        device=torch.device("cpu"),
    )
    expected = torch.nn.functional.normalize(expected)
    np.testing.assert_allclose(model.embed(images), expected.numpy(), atol=1e-5)
    assert model.card.step == trained.step
    assert model.card.identity == open_model(run, trust=TRUST).card.identity
