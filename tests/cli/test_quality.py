"""The commands that rate images by a trained network: quality, and plot reject."""

import csv
import io
import json

import numpy as np
import pytest
import torch

from partialfc.data.images.codec import encode_png
from partialfc.data.pairs.draw import make_pairs
from partialfc.data.pairs.files import write_pairs
from partialfc.data.sources.source import open_source
from partialfc.deploy.trained import load_trained
from partialfc.evaluation.embed import embed
from partialfc.training.run import train
from tests.processes import call
from tests.train_cases import small_config, write_data
from tests.training.cases import run

MAGFACE = {"name": "magface", "scale": 16, "l_a": 1, "u_a": 20, "l_m": 0.1, "u_m": 0.3, "lambda_g": 10}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run with MagFace and one with ArcFace, their data, and pairs of it."""
    folder = tmp_path_factory.mktemp("quality")
    source = open_source(write_data(folder))
    backbone = {"name": "convnet", "options": {"widths": [8, 8]}}
    run(small_config(folder, head={"margin": MAGFACE}, backbone=backbone))
    run(small_config(folder, run={"dir": str(folder / "arcface")}, backbone=backbone, train={"steps": 3}))
    write_pairs(folder / "pairs.bin", make_pairs(source, pairs=200, seed=0))
    return folder


def norms(folder):
    """Of the embeddings of all images."""
    source, trained = open_source(folder / "train.rec"), load_trained(folder / "run")
    images = [source.read(index)[0] for index in range(len(source))]
    rows = embed(trained.backbone, images, image_size=8, channels=1, device=torch.device("cpu"))
    return np.linalg.norm(rows.numpy(), axis=1)


def test_quality_writes_the_norm_of_every_image(folder):
    done = call("quality", folder / "run", folder / "train.rec", "--batch-size", 7)
    assert done.returncode == 0, done.stderr
    header, *rows = csv.reader(io.StringIO(done.stdout))
    assert header == ["image", "class", "quality"]
    assert [row[0] for row in rows[:2]] == [f"{folder / 'train.rec'} record {n}" for n in (1, 2)]
    assert [int(row[1]) for row in rows] == open_source(folder / "train.rec").class_ids().tolist()
    assert [float(row[2]) for row in rows] == pytest.approx(norms(folder), rel=1e-5)
    assert "margin" not in done.stderr


def test_quality_of_a_folder_goes_to_a_file_as_json(folder, tmp_path):
    for name in ("cats", "dogs"):
        (tmp_path / "images" / name).mkdir(parents=True)
        (tmp_path / "images" / name / "1.png").write_bytes(encode_png(np.full((9, 9, 1), 50, np.uint8)))
    done = call("quality", folder / "run", tmp_path / "images", "--json", "-o", tmp_path / "out.json")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["by"] == "norm"
    assert [(each["image"], each["class"]) for each in written["images"]] == [
        (str(tmp_path / "images" / name / "1.png"), name) for name in ("cats", "dogs")
    ]
    (tmp_path / "images" / "dogs" / "2.png").write_bytes(b"no image")
    before = (tmp_path / "out.json").read_text()
    failed = call("quality", folder / "run", tmp_path / "images", "--json", "-o", tmp_path / "out.json")
    assert failed.returncode == 1
    assert f"ImageError: {tmp_path / 'images' / 'dogs' / '2.png'}: " in failed.stderr
    assert (tmp_path / "out.json").read_text() == before


def test_a_margin_that_leaves_norms_alone_is_told(folder):
    done = call("quality", folder / "arcface", folder / "train.rec")
    assert done.returncode == 0
    assert "was trained with the margin arcface, and nothing made its norms follow quality" in done.stderr


def test_plot_reject_draws_each_run_and_a_random_quality(folder, tmp_path):
    how = ("--pairs", folder / "pairs.bin", "--fmr", 0.1, "--output", tmp_path / "a.png")
    done = call("plot", "reject", folder / "run", folder / "arcface", *how)
    assert done.returncode == 0, done.stderr
    *lines, last = done.stdout.splitlines()
    assert [line[:32].strip() for line in lines] == [
        "run: norm",
        "run: random",
        "arcface: norm",
        "arcface: random",
    ]
    assert last == str(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    printed = json.loads(call("plot", "reject", folder / "run", *how, "--json").stdout)
    assert list(printed["areas"]) == ["run: norm", "run: random"]
    assert f"area {printed['areas']['run: norm']:.4f}" in lines[0]


MISTAKES = {
    "no sigma": (("quality", "{run}", "{rec}", "--by", "pfe"), "gives embeddings without uncertainty: train"),
    "no likelihood": (("evaluate", "{run}", "--pairs", "{pairs}", "--score", "mls"), "without uncertainty"),
    "few impostors": (
        ("plot", "reject", "{run}", "--pairs", "{pairs}", "--fmr", "0.001"),
        "--fmr is 0.001: of the 100 impostor pairs of {pairs} not one may be accepted; take at least 0.01",
    ),
    "all rejected": (
        ("plot", "reject", "{run}", "--pairs", "{pairs}", "--up-to", "1"),
        "--up-to is 1; it must lie between 0 and 1",
    ),
    "no rate": (
        ("plot", "reject", "nowhere", "--pairs", "{pairs}", "--fmr", "2"),
        "--fmr is 2; it must lie between 0 and 1",
    ),
    "few impostors, before the run": (
        ("plot", "reject", "nowhere", "--pairs", "{pairs}", "--fmr", "1e-9"),
        "--fmr is 1e-09: of the 100 impostor pairs",
    ),
    "one run twice": (
        ("plot", "reject", "{run}", "{run}/../run", "--pairs", "{pairs}", "--fmr", "0.1"),
        "RUNS has {run} 2 times; give each run once",
    ),
    "reject's device": (
        ("plot", "reject", "nowhere", "--pairs", "{pairs}", "--device", "abacus"),
        "--device",
    ),
    "quality's device": (("quality", "nowhere", "{rec}", "--device", "abacus"), "--device"),
    "quality's output": (
        ("quality", "nowhere", "{rec}", "--output", "nowhere/a.csv"),
        "--output is 'nowhere/a.csv'; it must be a file in a folder that exists",
    ),
    "occlusion's device": (("plot", "occlusion", "nowhere", "{rec}", "--device", "abacus"), "--device"),
    "evaluate's device": (
        ("evaluate", "nowhere", "--pairs", "nowhere.bin", "--device", "abacus"),
        "--device is 'abacus'",
    ),
    "compare's device": (
        ("compare", "nowhere", "nowhere", "--pairs", "nowhere.bin", "--device", "abacus"),
        "--device is 'abacus'",
    ),
    "clean's device": (
        ("data", "clean", "nowhere", "nowhere", "--device", "abacus"),
        "--device is 'abacus'",
    ),
    "evaluate's rate": (
        ("evaluate", "nowhere", "--pairs", "{pairs}", "--far", "2"),
        "--far is 2; it must lie between 0 and 1",
    ),
    "compare's rate": (
        ("compare", "nowhere", "nowhere", "--pairs", "{pairs}", "--far", "0"),
        "--far is 0; it must lie between 0 and 1",
    ),
}


def test_a_batch_has_an_image_at_least(folder):
    """In words of the option, before anything is loaded."""
    done = call("plot", "reject", "nowhere", "--pairs", folder / "pairs.bin", "--batch-size", 0)
    assert done.returncode == 2
    assert "--batch-size" in done.stderr


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(folder, mistake):
    words, says = MISTAKES[mistake]
    places = {"run": folder / "run", "rec": folder / "train.rec", "pairs": folder / "pairs.bin"}
    done = call(*(word.format(**places) for word in words))
    assert (done.returncode, done.stdout) == (1, "")
    line = done.stderr.splitlines()[-1]
    assert says.format(**places) in line
    assert "Traceback" not in done.stderr


OF_NORMS = {
    "of magface": ("pfe", "run", None),
    "of arcface": ("pfe", "arcface", "has the backbone of {from}, which was trained with the margin arcface"),
    "of a file": ("pfe", "weights.pt", "has the backbone of {from}, which was trained in a way that is not"),
    "a teacher alone": ("distill", "arcface", "was trained by a teacher alone, without a margin"),
}


@pytest.mark.parametrize("case", OF_NORMS)
def test_a_margin_is_named_where_a_head_took_part(folder, tmp_path, case):
    """Not the config's default of a run without a head."""
    name, source, says = OF_NORMS[case]
    origin = str(folder / source)
    if source == "weights.pt":
        torch.save(load_trained(folder / "run").backbone.state_dict(), origin)
    config = {
        "run": {"dir": str(tmp_path / "run")},
        "backbone": {"name": "convnet", "options": {"widths": [8, 8]}},
        "head": {"margin": {"name": "arcface", "scale": 64, "margin": 0.5}, "sample_rate": 1.0},
        "train": {"steps": 3},
    }
    if name == "pfe":
        config["objective"] = {"name": name, "backbone_from": origin}
        config["data"] = {"sampler": "identities", "images_per_identity": 4}
    else:
        config["objective"] = {"name": name, "teacher_from": origin, "weight": 1.0, "alone": True}
    train(small_config(folder, **config))
    done = call("quality", tmp_path / "run", folder / "train.rec", "--by", "norm")
    assert done.returncode == 0, done.stderr
    if says is None:
        assert "quality by norm" not in done.stderr
    else:
        assert says.replace("{from}", origin) in done.stderr
