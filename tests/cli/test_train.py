"""The command `train`: real processes, real torchrun, signals and exit codes."""

import contextlib
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios

import pytest
import torch

from partialfc.metrics.run_log import read_metrics
from tests.cli.cases import losses
from tests.processes import ENVIRONMENT, call, descendants, free_port, is_alive, start
from tests.waiting import wait_for


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
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    process = subprocess.Popen(
        [*launcher, "-m", "partialfc", "train", folder / "config.yaml", "train.steps=100000"],
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
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_saves_and_the_exit_code_says_which(folder, number):
    """A cluster preempts, or Ctrl-C: the run stops after the current step, with a checkpoint, and resumes."""
    process = start("train", folder / "config.yaml", "train.steps=100000")
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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_the_first_step_ends_the_run_with_a_line(folder, number):
    waiting = "backbone.name=tests.train_cases:Waiting"
    process = start("train", folder / "config.yaml", waiting, stderr=subprocess.PIPE)
    assert process.stdout.readline() == "building\n"
    process.send_signal(number)
    _, said = process.communicate()
    assert process.returncode == 128 + number
    assert said == f"partialfc: stopped by {number.name} before the first step; nothing was saved\n"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_all_processes_of_a_run_stops_it_too(folder, number):
    """As of torchrun, Slurm and a terminal: it reaches the loader's processes, here before the run itself."""
    process = start("train", folder / "config.yaml", "train.steps=100000", "data.workers=1")
    next(line for line in process.stdout if line.startswith("step 10 "))
    helpers = descendants(process.pid)
    assert len(helpers) == 3, "the fork server, its worker, and multiprocessing's tracker of resources"
    for helper in helpers:
        os.kill(helper, number)
    next(line for line in process.stdout if line.startswith("step 30 "))
    process.send_signal(number)
    assert f"stopped by {number.name} at step" in process.stdout.read()
    assert process.wait() == 128 + number
    wait_for(lambda: not any(map(is_alive, helpers)), log=folder / "no log")


@pytest.mark.slow
def test_a_hanging_rank_times_out_and_is_named(folder):
    """One rank stops answering: the others end with an error that says which, within the timeout."""
    hung = call(
        "train",
        folder / "config.yaml",
        "backbone.name=tests.train_cases:Hanging",
        "train.timeout_seconds=5",
        ranks=2,
    )
    assert hung.returncode != 0
    assert "no answer from rank 1" in hung.stderr


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="this machine has no two GPUs")
@pytest.mark.parametrize(
    ("stopped", "says"),
    [
        pytest.param("false", "rank 1 did not come to it, but was at partialfc/training/", id="hangs"),
        pytest.param("true", "no answer from rank 1", id="stopped"),
    ],
)
def test_a_silent_rank_is_named_before_torchs_watchdog_ends_the_other(folder, stopped, says):
    silent = call(
        *("train", folder / "config.yaml", "train.device=cuda", "train.timeout_seconds=10"),
        *("backbone.name=tests.train_cases:Hanging", "backbone.options.backward=true"),
        f"backbone.options.stopped={stopped}",
        ranks=2,
        environment=ENVIRONMENT | {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "5"},
    )
    assert silent.returncode != 0
    assert says in silent.stderr
    assert "Watchdog caught" not in silent.stderr


@pytest.mark.slow
def test_two_nodes_train_as_one(folder):
    """Two torchrun agents that meet at a rendezvous, one rank each: what a two-node cluster runs."""
    port = free_port()
    agents = [
        start(
            *("train", folder / "config.yaml", "train.steps=4"),
            torchrun=[
                *("--nnodes", "2", "--nproc-per-node", "1", "--node-rank", node),
                *("--master-addr", "127.0.0.1", "--master-port", port),
            ],
            stderr=subprocess.PIPE,
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
    process = start(
        *("train", folder / "config.yaml", "train.steps=5", "schedule.warmup_steps=1"),
        stdout=theirs,
        stderr=theirs,
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


@pytest.mark.slow
def test_a_terminal_that_is_lost_saves(folder):
    """The window is closed: SIGHUP, and from then on nothing can be shown on that terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 140, 0, 0))
    command = [sys.executable, "-m", "partialfc", "train", folder / "config.yaml", "train.steps=100000"]
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=ENVIRONMENT, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while shown.count(b"loss") < 5:
        shown += os.read(ours, 4096)
    os.close(ours)  # which sends SIGHUP to the session
    assert process.wait() == 128 + signal.SIGHUP
    stopped = len(losses(folder))
    assert stopped > 0
    assert (folder / "run" / "checkpoints" / "latest").read_text() == f"step-{stopped:08d}"


@pytest.mark.slow
def test_torchrun_that_loses_its_terminal_saves(folder):
    process = start("train", folder / "config.yaml", "train.steps=100000", ranks=2)
    next(line for line in process.stdout if line.startswith("step 10 "))
    process.send_signal(signal.SIGHUP)
    assert "stopped by SIGHUP" in process.stdout.read()
    assert process.wait() != 0
    assert (folder / "run" / "checkpoints" / "latest").read_text() == f"step-{len(losses(folder)):08d}"


@pytest.mark.slow
def test_nohup_keeps_its_meaning(folder):
    """A SIGHUP that the process was told to ignore stops nothing."""
    process = subprocess.Popen(
        ["nohup", sys.executable, "-m", "partialfc", "train", folder / "config.yaml", "train.steps=100000"],
        stdout=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    lines = iter(process.stdout)
    next(line for line in lines if line.startswith("step 10 "))
    process.send_signal(signal.SIGHUP)
    reached = next(int(line.split()[1]) for line in lines if line.startswith("step "))
    next(line for line in lines if line.startswith(f"step {reached + 40} "))
    process.terminate()
    assert "stopped by SIGTERM" in process.stdout.read()
    assert process.wait() == 128 + signal.SIGTERM
