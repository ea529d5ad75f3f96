"""A trained network out of a checkpoint: its backbone, what it takes, and its centres."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import partialfc.trained
from partialfc.checkpoint.state import read_state
from partialfc.data.images.codec import decode, encode_jpeg, encode_png
from partialfc.deploy.saved_network import SavedNetwork
from partialfc.deploy.trained import Trained, load_trained
from partialfc.errors import CheckpointError
from partialfc.evaluation.embed import embed
from tests import train_cases
from tests.paths import FIXTURES
from tests.train_cases import small_config
from tests.training.cases import run

TRUST = ["tests.train_cases"]
OLD = FIXTURES / "run_0.1.0" / "checkpoints" / "step-00000007"
C, D = train_cases.CLASSES, 16


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    train_cases.write_data(folder)
    return folder


@pytest.fixture(scope="module")
def finished(data: Path) -> tuple[Trained, dict]:
    """A run that draws half of its centres, so that some owe steps when it ends; and what it ended with."""
    result = run(small_config(data))
    return load_trained(data / "run", trust=TRUST), result


def test_the_trained_backbone_is_loaded_for_use(finished):
    trained, result = finished
    assert trained.step == 12
    assert (trained.image_size, trained.channels, trained.embedding_size) == (8, 1, D)
    assert trained.num_classes == C
    assert not trained.backbone.training
    for name, tensor in trained.backbone.state_dict().items():
        assert torch.equal(tensor, result["backbone"][name])


@pytest.mark.parametrize(
    ("config", "amp"),
    [
        ({}, None),
        ({"train": {"amp": "auto"}}, "auto"),
        ({"train": {"amp": "auto"}, "verification": {"amp": "train"}}, "auto"),
        ({"train": {"amp": "auto"}, "verification": {"amp": None}}, None),
        ({"train": {"amp": None}, "verification": {"amp": "bfloat16"}}, "bfloat16"),
    ],
    ids=["neither", "before there were two", "as training", "float32", "its own"],
)
def test_it_says_what_the_run_verified_in(config, amp):
    state = read_state(OLD)
    for section in ("train", "verification"):
        state["config"][section] = config.get(section, {})
    assert SavedNetwork.of(OLD, state).amp == amp


@pytest.mark.parametrize("amp", ["int8", 3, [], {"a": 1}], ids=str)
def test_a_type_that_there_is_not_is_named(amp):
    state = read_state(OLD)
    state["config"]["train"] = {"amp": amp}
    with pytest.raises(CheckpointError, match=r"its amp is .*, and must be one of None, 'auto', 'bfloat16'"):
        SavedNetwork.of(OLD, state)


def test_the_backbone_of_an_old_checkpoint_is_loaded():
    """Version 0.1.0 wrote it; `partialfc.trained` is where that version had the function."""
    trained = partialfc.trained.load_trained(FIXTURES / "run_0.1.0", trust=TRUST)
    assert trained.step == 7
    assert (trained.image_size, trained.channels, trained.embedding_size) == (8, 1, D)
    with torch.no_grad():
        (embedding,) = trained.backbone(torch.linspace(-1, 1, 64).view(1, 1, 8, 8))
    assert embedding[:3].tolist() == pytest.approx([-0.16541721, 1.44261339, 0.49325664], abs=1e-8)
    assert trained.centres().shape == (C, D)


# What it takes


@pytest.fixture(scope="module")
def colour(data: Path) -> Trained:
    """A network of colour images: each of its embeddings depends on the order of the channels."""
    config = small_config(
        data,
        run={"dir": str(data / "colour")},
        data={"channels": 3},
        backbone={"name": "convnet", "options": {"widths": [8, 8]}},
        train={"steps": 3},
    )
    run(config)
    return load_trained(data / "colour")


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    """Two images [2, 8, 8, 3], uint8."""
    return torch.randint(256, (2, 8, 8, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_pixels_and_normalised_floats_give_what_embed_gives(colour, pixels):
    encoded = [encode_png(image.numpy()) for image in pixels]
    wanted = embed(colour.backbone, encoded, image_size=8, channels=3, device=torch.device("cpu"))
    images = pixels.permute(0, 3, 1, 2)
    assert torch.equal(colour(images), wanted)
    torch.testing.assert_close(colour(images.float() / 127.5 - 1), wanted)
    torch.testing.assert_close(colour((images / 127.5 - 1).double().float()), wanted)
    assert not colour(images).requires_grad


def test_the_order_of_the_channels_is_red_green_blue(colour, pixels):
    """As `decode` gives them: red first."""
    red = torch.zeros(8, 8, 3, dtype=torch.uint8)
    red[..., 0] = 255
    decoded = torch.from_numpy(decode(encode_jpeg(red.numpy()), channels=3))
    assert decoded[..., 0].min() > 200
    assert decoded[..., 1:].max() < 60
    images = pixels.permute(0, 3, 1, 2)
    assert (colour(images) - colour(images.flip(1))).abs().max() > 0.01


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 3, 8, 9), r"images.shape is \(2, 3, 8, 9\); it must be \[B, 3, 8, 8\]"),
        (torch.zeros(2, 8, 8, 3), r"images.shape is \(2, 8, 8, 3\); it must be \[B, 3, 8, 8\]"),
        (torch.zeros(3, 8, 8), r"images.shape is \(3, 8, 8\)"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.int64), "images.dtype is torch.int64; it must be uint8"),
        (torch.full((1, 3, 8, 8), 255.0), "values of size 255; floats must lie in -1..1"),
        (torch.full((1, 3, 8, 8), torch.nan), "values of size nan"),
        (torch.full((1, 3, 8, 8), 1e39, dtype=torch.float64), "values of size inf"),
        (torch.zeros(1, 3, 8, 8).numpy(), r"images is a ndarray; it must be a torch\.Tensor"),
        ([[0.0]], "images is a list; it must be a torch.Tensor: pass torch.as_tensor"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.complex64), "images.dtype is torch.complex64; it must be uint8"),
        (torch.zeros(1, 3, 8, 8, device="meta"), "images.device is meta; it must be the backbone's, cpu"),
    ],
)
def test_images_of_another_kind_are_refused(colour, images, message):
    with pytest.raises(ValueError, match=message):
        colour(images)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_floats_of_any_dtype_are_converted(colour, pixels, dtype):
    images = (pixels.permute(0, 3, 1, 2) / 127.5 - 1).to(dtype)
    assert torch.equal(colour(images), colour(images.float()))


def test_images_are_converted_to_the_dtype_of_the_backbone(colour, pixels):
    wide = replace(colour, backbone=copy.deepcopy(colour.backbone).double())
    images = pixels.permute(0, 3, 1, 2)
    for given in (images, images.float() / 127.5 - 1):
        torch.testing.assert_close(wide(given), colour(given).double(), atol=1e-5, rtol=1e-5)


def test_no_images_give_no_embeddings(colour):
    assert colour(torch.zeros(0, 3, 8, 8)).shape == (0, D)


# The centres


def test_centres_are_those_that_training_ended_with(finished):
    trained, result = finished
    centres = trained.centres()
    assert centres.dtype == torch.float32
    torch.testing.assert_close(centres, result["rows"], rtol=1e-6, atol=1e-7)
    assert torch.equal(torch.cat([trained.centres(0, 7), trained.centres(7, 8), trained.centres(8)]), centres)
    assert trained.centres(5, 5).shape == (0, D)
    assert trained.sub_centers == 1
    for start, stop in ((-1, 3), (0, C + 1), (4, 3)):
        with pytest.raises(ValueError, match=f"classes {start}..{stop} are not among the {C} there are"):
            trained.centres(start, stop)


@pytest.mark.parametrize(
    ("sections", "tolerance"),
    [
        ({"head": {"sample_rate": 0.3, "weight_dtype": "float64", "compute_dtype": "float64"}}, 1e-7),
        ({"head": {"sample_rate": 0.3, "weight_dtype": "bfloat16", "momentum_dtype": "int8"}}, 0.01),
        ({"head": {"sample_rate": 0.3}, "optimizer": {"momentum": 0.0, "weight_decay": 0.1}}, 1e-6),
        ({"head": {"sample_rate": 0.3, "unsampled": "frozen"}}, 0.0),
        ({"head": {"sample_rate": 0.3}, "optimizer": {"name": "adamw", "lr": 0.01}}, 0.0),
    ],
    ids=["float64", "narrow", "no momentum", "frozen", "adamw"],
)
def test_centres_of_two_ranks_are_paid_what_they_are_owed(data, tmp_path, run_ranks, sections, tolerance):
    config = small_config(data, run={"dir": str(tmp_path / "run")}, **sections)
    rows = torch.cat([result["rows"] for result in run_ranks(run, 2, config)])
    centres = load_trained(tmp_path / "run", trust=TRUST).centres()
    torch.testing.assert_close(centres, rows.float(), rtol=tolerance, atol=tolerance)


def test_all_sub_centres_of_a_class_are_given_and_the_nearest_counts(data, tmp_path, monkeypatch):
    margin = {"name": "softmax", "bias": True}
    config = small_config(data, run={"dir": str(tmp_path / "run")}, head={"sub_centers": 3, "margin": margin})
    rows = run(config)["rows"].view(C, 3, D)
    trained = load_trained(tmp_path / "run", trust=TRUST)
    assert trained.sub_centers == 3
    torch.testing.assert_close(trained.centres(), rows, rtol=1e-6, atol=1e-7)
    assert trained.centres(5, 5).shape == (0, 3, D)
    embeddings = torch.randn(5, D, generator=torch.Generator().manual_seed(0))
    unit, directions = (torch.nn.functional.normalize(each, dim=-1) for each in (embeddings, rows))
    wanted = torch.einsum("nd,ckd->nck", unit, directions).amax(2).topk(4)
    for chunk in (7, 1000):
        monkeypatch.setattr("partialfc.deploy.trained_network.CHUNK", chunk)
        values, classes = trained.top_k(embeddings, 4)
        assert torch.equal(classes, wanted.indices)
        torch.testing.assert_close(values, wanted.values)
    damaged = replace(trained, embedding_size=10)
    with pytest.raises(CheckpointError, match="its centres have 48 numbers a class, and an embedding has 10"):
        damaged.centres()


def test_the_nearest_classes_are_found_in_chunks(finished, monkeypatch):
    trained, result = finished
    embeddings = torch.randn(5, D, generator=torch.Generator().manual_seed(0))
    cosines = torch.nn.functional.normalize(embeddings) @ torch.nn.functional.normalize(result["rows"]).T
    for chunk in (3, 7, 1000):
        monkeypatch.setattr("partialfc.deploy.trained_network.CHUNK", chunk)
        for k in (1, 4, C):
            values, classes = trained.top_k(embeddings, k)
            wanted = cosines.topk(k)
            assert torch.equal(classes, wanted.indices)
            torch.testing.assert_close(values, wanted.values)
    for bad in (0, C + 1):
        with pytest.raises(ValueError, match=f"k is {bad}; it must be 1..{C}"):
            trained.top_k(embeddings, bad)
    with pytest.raises(ValueError, match=r"embeddings.shape is \(5, 3\); it must be \[n, 16\]"):
        trained.top_k(embeddings[:, :3], 1)


@pytest.mark.parametrize("k", [2.0, True, "2", None])
def test_a_k_that_is_no_whole_number_is_refused(finished, k):
    with pytest.raises(ValueError, match=rf"k is {k!r}; it must be 1\.\.{C}"):
        finished[0].top_k(torch.zeros(1, D), k)


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (np.zeros((1, D)), "embeddings is a ndarray; it must be a torch.Tensor: pass torch.as_tensor"),
        (
            torch.zeros(1, D, dtype=torch.int64),
            "embeddings.dtype is torch.int64; it must be a floating-point",
        ),
        (torch.zeros(1, D, dtype=torch.complex64), "embeddings.dtype is torch.complex64"),
    ],
)
def test_embeddings_of_another_kind_are_refused(finished, embeddings, message):
    with pytest.raises(ValueError, match=message):
        finished[0].top_k(embeddings, 1)


@pytest.mark.parametrize(("start", "stop"), [(1.5, 3), ("0", 3), (0, 3.0), (True, 3), (0, "3")])
def test_classes_that_are_no_whole_numbers_are_refused(finished, start, stop):
    with pytest.raises(ValueError, match=r"(start|stop) is .*; it must be a whole number"):
        finished[0].centres(start, stop)


def test_numpy_integers_are_whole_numbers(finished):
    trained, _ = finished
    assert torch.equal(trained.centres(np.int64(1), np.int32(3)), trained.centres(1, 3))
    embeddings = trained.centres(0, 2).half()
    assert trained.top_k(embeddings, np.int64(1))[1].flatten().tolist() == [0, 1]


# The names of the classes


def test_names_of_classes_are_those_of_the_run(data, finished, tmp_path):
    trained, _ = finished
    assert trained.classes is None
    path = data / "run" / "classes.json"
    names = [f"person {number}" for number in range(C)]
    path.write_text(json.dumps(names))
    assert trained.classes == tuple(names)
    for damage in ("[" * 100_000, "{}", "[1]", json.dumps([*names, "one more"]), "\ud800"):
        path.write_bytes(damage.encode("utf-8", "surrogatepass"))
        with pytest.raises(CheckpointError, match=r"classes\.json"):
            _ = trained.classes
    path.unlink()
