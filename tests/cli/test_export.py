"""`partialfc export`, and the commands that take what it writes and what others wrote as MODEL."""

import json
from pathlib import Path

import onnx
import pytest
import torch
from torch.nn.functional import normalize

from partialfc.backbones import build_backbone
from partialfc.data.pairs.draw import make_pairs
from partialfc.data.pairs.files import write_pairs
from partialfc.data.sources.source import open_source
from partialfc.deploy.trained import load_trained
from partialfc.serving.card import CARD_KEY, read_card
from tests import test_extras
from tests.deploy.export.cases import shaken
from tests.processes import call
from tests.train_cases import small_config, write_data
from tests.training.cases import run

BACKBONE = {"name": "convnet", "options": {"widths": [8, 8]}, "embedding_size": 16}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, `run`, that verified on `pairs.bin`, of its images, `train.rec`; and a backbone.pth."""
    folder = tmp_path_factory.mktemp("export")
    source = open_source(write_data(folder))
    write_pairs(folder / "pairs.bin", make_pairs(source, pairs=100, seed=0))
    sets = {"sets": {"seen": str(folder / "pairs.bin")}, "folds": 2}
    run(small_config(folder, backbone=BACKBONE, verification=sets, train={"steps": 3}))
    torch.manual_seed(0)
    mbf = shaken(build_backbone("mobilefacenet", embedding_size=512, image_size=112, channels=3))
    torch.save(mbf.state_dict(), folder / "backbone.pth")
    write_pairs(folder / "few.bin", make_pairs(source, pairs=20, seed=0))
    return folder


def printed(*arguments: object) -> str:
    done = call(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_export_says_what_it_wrote_and_is_evaluated_like_the_run(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.onnx"
    text = printed("export", folder / "run", out, "--bootstrap", 10, "--flip", "sum", "--opset", 20)
    first, second, third, last = text.splitlines()
    assert first.startswith(f"{out}: onnx, opset 20, ")
    assert first.endswith("; uint8 [n, 1, 8, 8] -> unit embeddings [n, 16]")
    assert second.startswith("run by onnxruntime on random images, it gives what the network gives, to ")
    assert third.startswith("seen: 100 pairs in float32: accuracy ")
    assert last == "the card says nothing of a licence: --licence and --data-licence"
    of_pairs = ("--pairs", folder / "pairs.bin", "--bootstrap", 0, "--json")
    own = json.loads(printed("evaluate", folder / "run", *of_pairs, "--flip", "sum", "--amp", "none"))
    assert json.loads(printed("evaluate", out, *of_pairs)) == pytest.approx(own, abs=1e-6)


def test_a_folder_has_a_card_with_what_was_said(folder: Path, tmp_path: Path) -> None:
    said = ("--name", "shapes", "--data", "drawn", "--licence", "mit", "--data-licence", "cc0-1.0")
    eight = ("--int8", "--calibrate", folder / "train.rec", "--calibrate-images", 20)
    given = (folder / "run", tmp_path / "a", *said, *eight, "--pairs", folder / "pairs.bin", "--json")
    found = json.loads(printed("export", *given))
    card = read_card(tmp_path / "a")
    assert found["card"] == json.loads(card.to_json())
    assert (card.name, card.data, card.classes) == ("shapes", "drawn", 20)
    assert (card.licence.weights, card.licence.data) == ("mit", "cc0-1.0")
    assert {figure.set for figure in card.figures} == {"pairs"}
    assert found["int8"]["pairs"]["dtype"] == "int8"
    assert 0.9 < found["int8_cosine"] < 1
    compared = printed(
        "compare",
        tmp_path / "a",
        tmp_path / "a" / "model_int8.onnx",
        "--pairs",
        folder / "pairs.bin",
        "--bootstrap",
        10,
    )
    assert "100 pairs in float32 and int8" in compared
    small = ("evaluate", tmp_path / "a" / "model_int8.onnx", "--pairs", folder / "pairs.bin")
    assert "100 pairs in int8: " in printed(*small, "--bootstrap", 0)
    refused = call(*small, "--amp", "bfloat16")
    assert "model_int8.onnx is an .onnx, which computes in the type that it was written for" in refused.stderr


def test_pairs_that_are_gone_are_named_and_the_card_has_no_figures(folder: Path, tmp_path: Path) -> None:
    away = folder / "pairs.bin"
    away.rename(folder / "away.bin")
    try:
        done = call("export", folder / "run", tmp_path / "a.safetensors")
    finally:
        (folder / "away.bin").rename(away)
    assert done.returncode == 0, done.stderr
    assert f"the run's pairs seen, {away}, are not there: give them with --pairs" in done.stderr
    assert "the card has no figures and no thresholds" in done.stderr


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--int8",), "--int8 needs --calibrate SOURCE"),
        (("--calibrate", "x.rec"), "--calibrate is for --int8, which is not there"),
        (("b.pt2", "--int8", "--calibrate", "train.rec"), "--int8 is of an .onnx"),
        (("--backbone", "r50"), "--backbone is 'r50', and "),
        (("--format", "torch"), "a.onnx', a name for the format onnx, and --format is torch: leave it out"),
        (("b.safetensors", "--flip", "sum"), "--flip says nothing of the format safetensors: leave it out"),
        (("b.safetensors", "--no-unit"), "--unit says nothing of the format safetensors"),
        (("b.pt2", "--opset", "20"), "--opset says nothing of the format torch"),
        (("--no-measure", "--pairs", "few.bin"), "--pairs is for figures, and --no-measure wants none"),
        (("--calibrate-images", "9"), "--calibrate-images is for --int8, which is not there"),
        (("--name", ""), "--name is empty; say something, or leave it out"),
        (("--data-licence", " "), "--data-licence is empty; say something, or leave it out"),
    ],
    ids=[
        "int8 alone",
        "calibrate alone",
        "int8 of a program",
        "a backbone for a run",
        "a name of another format",
        "flip of weights",
        "norm of weights",
        "opset of a program",
        "pairs without figures",
        "calibration images alone",
        "no name",
        "no licence",
    ],
)
def test_what_does_not_go_together_is_told(
    folder: Path, tmp_path: Path, options: tuple[str, ...], problem: str
) -> None:
    out = "a.onnx"
    if options[0].startswith("b."):
        out, *options = options
    options = [str(folder / each) if each == "train.rec" else each for each in options]
    done = call("export", folder / "run", tmp_path / out, *options)
    assert (done.returncode, done.stdout) == (1, "")
    assert problem in done.stderr
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("missing", "out"), [("onnxscript", "a.onnx"), ("onnx", "a"), ("safetensors", "a.safetensors")]
)
def test_a_missing_package_is_told_with_the_extra(
    folder: Path, tmp_path: Path, missing: str, out: str
) -> None:
    done = test_extras.call(tmp_path, [missing], "export", str(folder / "run"), out, "--no-measure")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("partialfc: MissingExtraError: ")
    assert done.stderr.rstrip().endswith("pip install 'partialfc[export]'")
    assert not [*tmp_path.iterdir()]


def test_an_onnx_gets_a_card_with_figures_and_thresholds(folder: Path, tmp_path: Path) -> None:
    given = ("--no-measure", "--opset", 20, "--layout", "NHWC")
    printed("export", folder / "run", tmp_path / "bare.onnx", *given)
    pairs = ("--pairs", folder / "pairs.bin", "--bootstrap", 0)
    first, second, third, _ = printed(
        "export", tmp_path / "bare.onnx", tmp_path / "a.onnx", *pairs
    ).splitlines()
    assert first.startswith(f"{tmp_path}/a.onnx: onnx, opset 20, ")
    assert first.endswith("; uint8 [n, 8, 8, 1] -> unit embeddings [n, 16]")
    assert second.endswith("it gives what the network gives, to 0.0e+00")
    assert third.startswith("pairs: 100 pairs in float32: accuracy ")
    card = load_trained(tmp_path / "a.onnx").card
    assert card.thresholds
    again = call("export", tmp_path / "a.onnx", tmp_path / "again.onnx", "--licence", "mit")
    assert "has no figures" not in again.stderr
    kept = load_trained(tmp_path / "again.onnx").card
    assert (kept.figures, kept.thresholds, kept.licence.weights) == (card.figures, card.thresholds, "mit")
    for option in ("--flip=sum", "--opset=18", "--no-unit"):
        done = call("export", tmp_path / "a.onnx", tmp_path / "b.onnx", option, "--no-measure")
        assert "a.onnx is an .onnx, whose graph stays as it is: leave --input, " in done.stderr


@pytest.mark.slow
def test_insightfaces_weights_are_taken_as_they_are(folder: Path, tmp_path: Path) -> None:
    model, source = folder / "backbone.pth", write_data(tmp_path / "few", classes=2)
    pairs = ("--pairs", folder / "few.bin", "--bootstrap", 0)
    own = printed("evaluate", model, *pairs)
    qualities = printed("quality", model, source).splitlines()
    assert len(qualities) == 1 + len(open_source(source))
    done = call("data", "clean", model, source, "--by", "centres")
    assert done.returncode == 1
    assert f"{model} has no centres of classes: give the folder of the run that trained it" in done.stderr
    printed("export", model, tmp_path / "a.onnx", "--no-measure")
    metadata = {each.key: each.value for each in onnx.load(tmp_path / "a.onnx").metadata_props}
    card = json.loads(metadata[CARD_KEY])
    assert (card["name"], card["backbone"], card["step"]) == ("backbone", "mobilefacenet", None)
    assert printed("evaluate", tmp_path / "a.onnx", *pairs) == own


def test_labels_are_cleaned_by_an_export_as_by_the_run(folder: Path, tmp_path: Path) -> None:
    printed("export", folder / "run", tmp_path / "a.safetensors", "--no-measure")
    clean = [
        call("data", "clean", model, folder / "train.rec")
        for model in (folder / "run", tmp_path / "a.safetensors")
    ]
    assert [done.returncode for done in clean] == [0, 0], clean[1].stderr
    assert clean[0].stdout == clean[1].stdout


def test_low_rank_updates_are_part_of_what_is_exported(folder: Path, tmp_path: Path) -> None:
    lora = {
        "backbone_from": str(folder / "run"),
        "head_from": "random",
        "lora": {"rank": 2, "patterns": ["fc"]},
    }
    where = {"dir": str(tmp_path / "tuned")}
    run(small_config(folder, run=where, backbone=BACKBONE, finetune=lora, train={"steps": 3}))
    printed("export", tmp_path / "tuned", tmp_path / "a.onnx", "--no-measure")
    tuned, base = load_trained(tmp_path / "tuned"), load_trained(folder / "run")
    images = torch.randint(256, (3, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    given = load_trained(tmp_path / "a.onnx")(images)
    torch.testing.assert_close(given, normalize(tuned(images)), atol=1e-4, rtol=0)
    assert (given - normalize(base(images))).abs().max() > 1e-3
