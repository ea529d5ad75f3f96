"""The whole command: one after another, its version, what it loads, and what an error looks like."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import partialfc
from partialfc.config import load_config
from partialfc.data.images.codec import encode_png
from tests.processes import ENVIRONMENT, call


def test_train_evaluate_report(folder):
    trained = call("train", folder / "config.yaml", "train.steps=6")
    assert trained.returncode == 0, trained.stderr
    assert "20 classes, 120 images" in trained.stdout
    assert "step 6  epoch 1.20  loss" in trained.stdout
    assert "finished 6 steps" in trained.stdout
    pairs = call("data", "pairs", folder / "train.rec", folder / "pairs.bin", "--pairs", "100")
    assert "100 pairs, 50 genuine" in pairs.stdout
    evaluate = ("evaluate", folder / "run", "--pairs", folder / "pairs.bin", "--trust", "tests.train_cases")
    evaluated = call(*evaluate, "--json")
    assert evaluated.returncode == 0, evaluated.stderr
    assert evaluated.stderr == ""
    assert 0.5 < json.loads(evaluated.stdout)["accuracy"] <= 1
    bounded = call(*evaluate, "--max-pixels", 63)
    assert bounded.returncode == 1
    assert "8 x 8 pixels by its header: images may have 63" in bounded.stderr
    drawn = call("report", folder / "run")
    assert str(folder / "run" / "checkpoints" / "step-00000006") in drawn.stdout
    assert Path(drawn.stdout.split()[-1]).read_bytes().startswith(b"<!doctype html>")


def test_the_version_is_that_of_the_package():
    assert call("--version").stdout == f"partialfc {partialfc.__version__}\n"


SMALL = {
    "partialfc.files",
    *("partialfc.data", "partialfc.data.check", "partialfc.data.check.kinds"),
    *("partialfc.serving", "partialfc.serving.service", "partialfc.serving.service.limits"),
}
LOADED = """
import sys, partialfc
before = set(sys.modules)
import partialfc.cli.app
print(*set(sys.modules) - before)
"""


def test_help_does_not_wait_for_what_only_a_command_needs():
    command = [sys.executable, "-c", LOADED]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=True)
    names = set(done.stdout.split())
    ours = {name for name in names if name.startswith("partialfc")} - SMALL
    assert all(name.startswith("partialfc.cli") for name in ours)
    assert not names & {"torch", "pydantic", "yaml", "matplotlib", "tqdm"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nowhere.yaml"], "ConfigError: nowhere.yaml: cannot read the config"),
        (["train", "{config}", "head.sample_rat=0.1"], "did you mean head.sample_rate"),
        (
            ["train", "{config}", "data.train=nowhere.rec"],
            "ConfigError: data.train is nowhere.rec, which does not exist; it must be",
        ),
        (["train", "{config}", "backbone.name=iresnet51"], "unknown backbone 'iresnet51'; known:"),
        (
            ["evaluate", "{folder}", "--pairs", "{config}"],
            "CheckpointError: {folder}: neither a checkpoint nor",
        ),
        (["report", "{folder}"], "is not a run"),
        (
            ["data", "pairs", "{data}", "{folder}/missing/pairs.bin", "--pairs", "20"],
            "ConfigError: OUT is '{folder}/missing/pairs.bin'; it must be a file in a folder that exists",
        ),
        (["data", "pairs", "{data}", "{folder}", "--pairs", "20"], "OUT is '{folder}'; it must be a file in"),
        (["data", "pack", "{images}", "{config}"], "OUT is '{config}', but {config} is no folder"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_1(folder, arguments, message):
    places = {"config": folder / "config.yaml", "folder": folder, "data": folder / "train.rec"}
    places["images"] = folder / "images"
    (places["images"] / "a").mkdir(parents=True)
    (places["images"] / "a" / "0.png").write_bytes(encode_png(np.zeros((8, 8, 3), np.uint8)))
    result = call(*(argument.format(**places) for argument in arguments))
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert message.format(**places) in result.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["data", "check", "x", "--skip", "nosuch"], "'--skip': 'nosuch' is not one of 'broken', 'label',"),
        (["evaluate", "x", "--flip", "y"], "'--flip': 'y' is not one of 'none', 'sum', 'concat'"),
        (["data", "check", "x", "--min-side", "0"], "'--min-side': must be greater than or equal to 1, got"),
        (["data", "align", "x", "y", "--min-score", "two"], "'--min-score': must be a number, got 'two'"),
        (["init", "x", "--seed", "1.5"], "'--seed': must be a whole number, got '1.5'"),
    ],
    ids=["list of words", "word", "bound", "number", "whole number"],
)
def test_a_wrong_value_of_an_option_is_told_plainly(words, says):
    done = call(*words)
    assert done.returncode == 2
    shown = " ".join(line.strip("│ ") for line in done.stderr.splitlines())
    assert f"Invalid value for {says}" in shown


ODD = {"two\nlines": 2, "red\x1b[31m": 2, "bell\x07\x85": 2, "right\u202eleft": 2, "tab\t": 2, "bad\udcff": 2}


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Classes whose names would steer a terminal, break a line or are no text; one image is none."""
    folder = tmp_path_factory.mktemp("odd")
    for shade, name in enumerate(ODD):
        (folder / "in" / name).mkdir(parents=True)
        for number in range(ODD[name]):
            image = encode_png(np.full((16, 16, 3), 20 * shade + number, np.uint8))
            (folder / "in" / name / f"{number}\x1b.png").write_bytes(image)
    (folder / "in" / "red\x1b[31m" / "bad\x1b[0m\n.png").write_bytes(b"none")
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ["data", "stats", "in", "--page", "stats.html", "-o", "stats.json"],
        ["data", "show", "in", "-o", "show.png"],
        ["data", "check", "in", "--page", "check.html", "-o", "check.json", "--write-bad", "bad.txt"],
        ["data", "split", "in", "split", "--classes", "2"],
        ["data", "stats", "in/red\x1b[31m"],
        ["data", "stats", "no/red\x1b[31m"],
        ["init", "in", "-o", "config.yaml", "data.leave_out=no\x1b[31m"],
        ["init", "in", "-o", "config.yaml"],
    ],
    ids=["stats", "show", "check", "split", "log", "error", "override", "init"],
)
def test_no_name_of_a_class_or_file_steers_the_terminal(odd, words):
    done = call(*words, cwd=odd)
    shown = done.stdout + done.stderr
    assert "Traceback" not in shown
    assert all(each.isprintable() or each in "\n\t" for each in shown)
    for page in odd.glob("*.html"):
        assert all(each.isprintable() or each in "\n\t" for each in page.read_text())
    if (odd / "config.yaml").exists():
        assert load_config(odd / "config.yaml").data.shown == "in"


def test_torchrun_shows_the_error_last(tmp_path):
    """Below some twenty lines of its own traceback, where one looks first."""
    ended = call("train", tmp_path / "missing.yaml", ranks=2)
    assert ended.returncode == 1
    cause = ended.stderr[ended.stderr.index("Root Cause") :]
    assert "partialfc: ConfigError: " in cause
    assert "missing.yaml" in cause
