"""benchmarks/gpu.py, as `make gpu` runs it: parts that pass, fail, hang or are left out, and the table."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from torch.nn import functional

from tests.benchmarks.measured import run
from tests.paths import ROOT
from tests.processes import ENVIRONMENT, warm_python
from tests.waiting import wait_for


def gpu(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in ENVIRONMENT.items() if not name.startswith("PYTEST_")}
    return run(
        *("gpu.py", "--logs", folder / "logs", "--jobs", "0", "--output", folder / "gpu.csv", *options),
        environment={**variables, "CUDA_VISIBLE_DEVICES": "", **environment},
        cwd=folder,
    )


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "gpu.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def broken_peer(folder: Path) -> Path:
    """With the files of arcface_torch, which cannot be imported."""
    peer = folder / "arcface torch"
    peer.mkdir()
    for name in ("losses.py", "partial_fc_v2.py"):
        (peer / name).write_text("raise ImportError('something that is not installed')")
    return peer


@pytest.mark.slow
def test_without_a_gpu_the_head_runs_and_the_rest_is_left_out_by_name(tmp_path):
    """The rows come beside another card's; a peer that fails is one of them, and the twin stands in."""
    other = {"part": "doctor", "result": "passed", "card": "Another Card", "torch": "2.11.0"}
    with (tmp_path / "gpu.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, other)
        writer.writeheader()
        writer.writerow(other)
    parts = ("tests of the head", "NCCL, one rank", "DALI", "head, all classes")
    done = gpu(tmp_path, "--peer", str(broken_peer(tmp_path)), "--parts", *parts)
    assert done.returncode == 0, done.stdout + done.stderr
    found = rows(tmp_path)
    left_out = {row["part"]: row["detail"] for row in found if row["result"] == "left out"}
    assert left_out["tests of the head"] == left_out["NCCL, one rank"] == left_out["DALI"] == "no GPU"
    measured = {(row["system"], row["compute"]): row for row in found if row["system"]}
    fused = ["torch linear_cross_entropy"] * hasattr(functional, "linear_cross_entropy")  # torch 2.13
    for system in ("partialfc", "dense twin", "floor", *fused):
        assert measured[system, "float32"]["result"] == "passed"
    assert "something that is not installed" in measured["arcface_torch", "float32"]["detail"]
    assert "nothing to commit: no GPU" in done.stdout
    assert next(row["card"] for row in found if row["result"] == "passed") == "Another Card"
    shown = (tmp_path / "gpu.md").read_text()
    assert shown.startswith("# What ran on which card")
    assert "## Another Card\n\ntorch 2.11.0\n" in shown
    assert "## no GPU, " in shown
    assert "| partialfc, bfloat16: 800 classes, rate 1.0, batch 64 | passed |" in shown


TESTS = ["--parts", "tests of the head", "NCCL, one rank"]


@pytest.mark.slow
def test_tests_are_counted_and_where_they_fail_the_next_part_runs(tmp_path):
    done = gpu(tmp_path, *TESTS, "--tests=-k 'nearest or buffers'", PARTIALFC_TEST_DEVICE="cpu")
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = rows(tmp_path)[:2]
    assert (first["result"], first["passed"]) == (second["result"], second["passed"]) == ("passed", "1")
    done = gpu(tmp_path, *TESTS[:2], "--tests=-k nearest", PARTIALFC_TEST_DEVICE="nonsense")
    assert done.returncode == 1
    first, beside = rows(tmp_path)[:2]
    assert (first["result"], first["failed"]) == ("failed", "1")
    assert first["detail"] == "test_eval_mode_and_the_nearest_classes"
    assert beside["result"] == "left out"
    assert "| tests of the head | failed: 1 failed: test_eval_mode_" in done.stdout


@pytest.mark.slow
def test_a_part_whose_time_is_up_is_cut_short_and_the_last_is_left_out(tmp_path):
    hangs = "--tests=-p tests.benchmarks.hangs -k nearest"
    done = gpu(tmp_path, *TESTS, hangs, "--seconds", "40", PARTIALFC_TEST_DEVICE="cpu")
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = rows(tmp_path)[:2]
    assert first["result"] == "cut short"
    assert (second["result"], second["detail"]) == ("left out", "no time was left")


OPTIONS = {
    "peer": (
        ["--peer", "missing"],
        "missing has no partial_fc_v2.py: give recognition/arcface_torch of InsightFace",
    ),
    "part": (
        ["--parts", "nonsense"],
        "--parts nonsense: there is no such part. The parts are: doctor; tests of the",
    ),
    "folder": (["--output", "missing/gpu.csv"], "No such file or directory"),
    "file": (["--output", "other.csv"], "other.csv is not a table of this program: give another --output"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_that_does_not_hold_is_refused_before_any_part_runs(tmp_path, name):
    words, message = OPTIONS[name]
    (tmp_path / "other.csv").write_text("name,value\nother,1\n")
    done = gpu(tmp_path, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list((tmp_path).glob("logs/*")) + list(tmp_path.glob("gpu.*"))


def test_what_is_missing_beside_the_head_is_said(tmp_path):
    assert gpu(tmp_path, "--parts", "DALI").returncode == 0
    beside = [row["detail"] for row in rows(tmp_path) if row["part"] == "beside the head"]
    assert any("ARCFACE_TORCH=PATH" in detail for detail in beside)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_an_interrupted_run_writes_its_rows_and_leaves_no_process(tmp_path, number):
    command = [sys.executable, ROOT / "benchmarks" / "gpu.py", "--logs", tmp_path / "logs"]
    command += ["--output", tmp_path / "gpu.csv", "--parts", "doctor", "DALI", "head, all classes"]
    mark = f"MARK_OF_TEST={tmp_path}"
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "MARK_OF_TEST": str(tmp_path)}
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # ignored by what a shell runs behind it
    )
    log = tmp_path / "logs" / "doctor.txt"
    wait_for(log.exists, log=log, alive=lambda: process.poll() is None)
    process.send_signal(number)
    stdout, stderr = process.communicate()
    assert (process.returncode, stderr) == (128 + number, "")
    doctor, head, dali = rows(tmp_path)[:3]
    assert doctor["result"] == "cut short"
    assert doctor["detail"].startswith("interrupted after ")
    assert (head["result"], head["detail"]) == ("left out", "interrupted")
    assert (dali["result"], dali["detail"]) == ("left out", "no GPU")
    assert "| head, all classes | left out: interrupted |" in stdout
    wait_for(lambda: not any(mark in read(path) for path in Path("/proc").glob("[0-9]*/environ")), log=log)


def read(environ: Path) -> str:
    try:
        return environ.read_text(errors="replace")
    except OSError:  # of a process that has ended
        return ""


def test_a_commit_is_dirty_where_more_than_results_changed(tmp_path):
    (tmp_path / "benchmarks").mkdir()
    shutil.copy(ROOT / "benchmarks" / "table.py", tmp_path / "benchmarks")
    result = tmp_path / "benchmarks" / "gpu.md"
    result.write_text("")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    ask = "import table; print(table.surroundings()['commit']); open('table.py', 'a').write('#'); "
    ask += "print(table.surroundings()['commit'])"
    result.write_text("changed")
    done = warm_python().run("-c", ask, env=ENVIRONMENT, cwd=result.parent)
    assert done.returncode == 0, done.stderr
    clean, dirty = done.stdout.split()
    assert re.fullmatch("[0-9a-f]+", clean)
    assert dirty == f"{clean}-dirty"
