"""The command as people run it: real processes, real torchrun, exit codes and one-line errors."""

import contextlib
import fcntl
import json
import os
import pty
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
import yaml

from partialfc.config import Config
from partialfc.training.progress import read_metrics
from tests import train_cases
from tests.paths import ROOT

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


@pytest.fixture
def folder(tmp_path):
    train_cases.write_data(tmp_path)
    config = yaml.safe_load(json.dumps(train_cases.small_config(tmp_path).model_dump(mode="json")))
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


def command(*arguments: str, ranks: int = 0) -> list[str]:
    launcher = (
        ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)] if ranks else []
    )
    return [sys.executable, *launcher, "-m", "partialfc", *map(str, arguments)]


def call(*arguments: str, ranks: int = 0) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(*arguments, ranks=ranks), capture_output=True, text=True, env=ENVIRONMENT, check=False
    )


def losses(folder: Path) -> list[float]:
    return [record["loss"] for record in read_metrics(folder / "run") if record["event"] == "train"]


def test_train_evaluate_report(folder):
    trained = call("train", folder / "config.yaml", "train.steps=6")
    assert trained.returncode == 0, trained.stderr
    assert "20 classes, 120 images" in trained.stdout
    assert "step 6  epoch 1.20  loss" in trained.stdout
    assert "finished 6 steps" in trained.stdout
    pairs = call("data", "pairs", folder / "train.rec", folder / "pairs.bin", "--pairs", "100")
    assert "100 pairs, 50 genuine" in pairs.stdout
    evaluated = call("evaluate", folder / "run", "--pairs", folder / "pairs.bin", "--json")
    assert evaluated.returncode == 0, evaluated.stderr
    assert evaluated.stderr == ""
    assert 0.5 < json.loads(evaluated.stdout)["accuracy"] <= 1
    drawn = call("report", folder / "run")
    assert str(folder / "run" / "checkpoints" / "step-00000006") in drawn.stdout
    assert Path(drawn.stdout.split()[-1]).read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_run_killed_under_torchrun_resumes_on_another_number_of_ranks(folder):
    """Two ranks, one killed with SIGKILL; torchrun ends with an error; three, then one, carry on."""
    kill = "backbone.name=tests.train_cases:Interrupted"
    options = ["backbone.options={at: 7, kill: true, rank: 1}", "checkpoint.every_steps=3"]
    killed = call("train", folder / "config.yaml", kill, *options, ranks=2)
    assert killed.returncode != 0
    assert "Signal 9 (SIGKILL)" in killed.stderr
    never = ["backbone.options={at: 1000000}", "checkpoint.every_steps=3"]
    resumed = call("train", folder / "config.yaml", kill, *never, "train.steps=9", ranks=3)
    assert resumed.returncode == 0, resumed.stderr
    assert "resumed at step 6" in resumed.stdout
    alone = call("train", folder / "config.yaml", kill, *never)
    assert alone.returncode == 0, alone.stderr
    assert "resumed at step 9" in alone.stdout
    steps = [record["step"] for record in read_metrics(folder / "run") if record["event"] == "train"]
    assert steps == list(range(1, 13))


@pytest.mark.slow
def test_workers_of_a_killed_torchrun_stop_by_themselves(folder):
    """kill -9 of torchrun alone leaves its workers: they save, stop, and the folder is free again."""
    process = subprocess.Popen(
        command("train", folder / "config.yaml", "train.steps=100000", ranks=2),
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    for line in process.stdout:
        if line.startswith("step 10 "):
            break
    process.kill()
    rest = process.stdout.read()  # ends when the last worker does
    assert "stopped by SIGTERM at step" in rest
    assert call("train", folder / "config.yaml", f"train.steps={len(losses(folder)) + 1}").returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_exit_code_says_which(folder, number):
    """A cluster preempts, or Ctrl-C: the run stops after the current step, with a checkpoint, and resumes."""
    process = subprocess.Popen(
        command("train", folder / "config.yaml", "train.steps=100000"),
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    for line in process.stdout:
        if line.startswith("step 20 "):
            break
    process.send_signal(number)
    rest = process.stdout.read()
    assert process.wait() == 128 + number
    assert f"stopped by {number.name} at step" in rest
    stopped = len(losses(folder))
    again = call("train", folder / "config.yaml", f"train.steps={stopped + 2}")
    assert f"resumed at step {stopped}" in again.stdout


@pytest.mark.slow
def test_a_hanging_rank_times_out_and_is_named(folder):
    """One rank stops answering: the others end with an error that says which, within the timeout."""
    began = time.monotonic()
    hung = call(
        "train",
        folder / "config.yaml",
        "backbone.name=tests.train_cases:Hanging",
        "train.timeout_seconds=5",
        ranks=2,
    )
    assert hung.returncode != 0
    assert "no answer from rank 1" in hung.stderr
    assert time.monotonic() - began < 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nowhere.yaml"], "ConfigError: nowhere.yaml: cannot read the config"),
        (["train", "{config}", "head.sample_rat=0.1"], "did you mean head.sample_rate"),
        (
            ["train", "{config}", "data.train=nowhere.rec"],
            "ConfigError: data.train is nowhere.rec; it must be",
        ),
        (["train", "{config}", "backbone.name=iresnet51"], "unknown backbone 'iresnet51'; known:"),
        (["evaluate", "{folder}", "--pairs", "{config}"], "PairsError"),
        (["report", "{folder}"], "is not a run"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_1(folder, arguments, message):
    places = {"config": folder / "config.yaml", "folder": folder}
    result = call(*(argument.format(**places) for argument in arguments))
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert message in result.stderr


def test_config_prints_what_a_run_would_use_and_its_schema(folder):
    printed = call("config", folder / "config.yaml", "optimizer.lr=0.25")
    assert Config.model_validate(yaml.safe_load(printed.stdout)).optimizer.lr == 0.25
    schema = json.loads(call("config", "--schema").stdout)
    assert schema["title"] == "Config"


def test_every_committed_config_is_valid():
    for path in sorted((ROOT / "configs").glob("*.yaml")):
        result = call("config", path)
        assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_two_nodes_train_as_one(folder):
    """Two torchrun agents that meet at a rendezvous, one rank each: what a two-node cluster runs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    agents = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"),
                *("--node-rank", str(node), "--master-addr", "127.0.0.1", "--master-port", str(port)),
                *("-m", "partialfc", "train", str(folder / "config.yaml"), "train.steps=4"),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )
        for node in range(2)
    ]
    outputs = [agent.communicate() for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], outputs
    assert "2 ranks on cpu" in outputs[0][0]
    assert outputs[1][0] == ""
    assert len(losses(folder)) == 4


def test_a_terminal_gets_a_bar(folder):
    """On a terminal: one line that moves, with loss, learning rate, speed and time left."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 140, 0, 0))
    process = subprocess.Popen(
        command("train", folder / "config.yaml", "train.steps=5", "schedule.warmup_steps=1"),
        stdout=theirs,
        stderr=theirs,
        env=ENVIRONMENT,
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # how Linux says that the other side is closed
        while part := os.read(ours, 4096):
            shown += part
    os.close(ours)
    assert process.wait() == 0
    bar = shown.decode().replace("\r", "\n").splitlines()
    assert any("5/5" in line and "loss" in line and "lr" in line and "images/s" in line for line in bar)
