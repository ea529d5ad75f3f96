"""`partialfc plot occlusion`: its picture, the IoU that it prints, and one line for each mistake."""

import json
import shutil

import pytest

from partialfc.checkpoint.state import STATE, sealed
from partialfc.deploy.trained import load_trained
from tests.processes import call
from tests.train_cases import small_config, write_data
from tests.training.test_occlusion import run

PNG = b"\x89PNG"
BACKBONE = {"name": "convnet", "options": {"widths": [8, 8]}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run with occlusion and one without, and their data."""
    folder = tmp_path_factory.mktemp("occlusion")
    write_data(folder)
    objective = {"name": "occlusion", "hidden": 4, "size": 0.4, "landmarks": [[0.2, 0.3]]}
    run(small_config(folder, objective=objective, backbone=BACKBONE, train={"steps": 5}))
    run(small_config(folder, run={"dir": str(folder / "plain")}, backbone=BACKBONE, train={"steps": 3}))
    (folder / "empty").mkdir()
    return folder


def test_it_draws_a_picture_and_prints_the_iou_by_cover(folder):
    done = call("plot", "occlusion", "run", "train.rec", "--count", 50, "--drawn", 3, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    *lines, last = done.stdout.splitlines()
    assert [line.split("IoU")[0].strip() for line in lines] == [
        "masks of training",
        *(f"covers: {fill}" for fill in ("white", "black", "grey", "noise")),
    ]
    assert all(line.endswith("of 50 images") for line in lines)
    assert last == "run/occlusion.png"
    assert (folder / last).read_bytes().startswith(PNG)


def test_json_has_the_same_figures_and_the_same_seed_gives_the_same(folder):
    words = ("plot", "occlusion", "run", "train.rec", "--json", "--output", "a.png", "--seed", 3)
    first, second = (call(*words, cwd=folder) for _ in range(2))
    told = json.loads(first.stdout)
    assert told == json.loads(second.stdout)
    assert told["images"] == 120
    assert {*told["iou"]} == {"masks", "white", "black", "grey", "noise"}
    assert all(0 <= value <= 1 for value in told["iou"].values())


MISTAKES = {
    "a run without": (("plain", "train.rec"), "has no branch that predicts occlusion: train with objective"),
    "no run": (("no", "train.rec"), "no"),
    "no images": (("run", "no.rec"), "no.rec: does not exist"),
    "a JPEG": (("run", "train.rec", "--output", "a.jpg"), "--output is 'a.jpg'; it must be a .png file"),
    "an image too large": (("run", "train.rec", "--max-pixels", "10"), "train.rec"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(folder, mistake):
    words, says = MISTAKES[mistake]
    done = call("plot", "occlusion", *words, cwd=folder)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert says in line


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ways", "half"),
        ("ways", 3),
        ("ways", [["half"]]),
        ("size", "big"),
        ("landmarks", [[9, 9]]),
        ("landmarks", [["a", "b"]]),
        ("landmarks", 3),
        ("at", None),
    ],
    ids=str,
)
def test_a_checkpoint_that_says_something_else_is_named(folder, tmp_path, key, value):
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(load_trained(folder / "run").checkpoint, checkpoint)
    state = json.loads((checkpoint / STATE).read_text().partition("\n")[2])
    state["config"]["objective"][key] = value
    (checkpoint / STATE).write_text(sealed(state))
    done = call("plot", "occlusion", checkpoint, folder / "train.rec", "--output", tmp_path / "a.png")
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert "CheckpointError" in line or str(checkpoint) in line
    assert key in line
