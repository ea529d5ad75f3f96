"""benchmarks/gpu.py, as `make gpu` runs it: parts that pass, fail, hang or are left out, and the table."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch.nn import functional

from tests.paths import ROOT


def gpu(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "benchmarks" / "gpu.py", "--logs", folder / "logs", "--jobs", "0"]
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    options = ("--output", str(folder / "gpu.csv"), *options)
    return subprocess.run(
        [*command, *options],
        capture_output=True,
        text=True,
        check=False,
        env={**variables, "CUDA_VISIBLE_DEVICES": "", **environment},
        cwd=folder,
    )


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "gpu.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_without_a_gpu_the_head_runs_and_the_rest_is_left_out_by_name(tmp_path):
    """And a second run takes the place of the first, beside the rows of another card."""
    other = {"part": "doctor", "result": "passed", "card": "Another Card", "torch": "2.11.0"}
    with (tmp_path / "gpu.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, other)
        writer.writeheader()
        writer.writerow(other)
    done = gpu(tmp_path, "--parts", "tests of the head", "NCCL, one rank", "DALI", "head, all classes")
    assert done.returncode == 0, done.stdout + done.stderr
    found = rows(tmp_path)
    left_out = {row["part"]: row["detail"] for row in found if row["result"] == "left out"}
    assert left_out["tests of the head"] == left_out["NCCL, one rank"] == left_out["DALI"] == "no GPU"
    beside = [row["detail"] for row in found if row["part"] == "beside the head"]
    assert any("ARCFACE_TORCH=PATH" in detail for detail in beside)
    measured = {(row["system"], row["compute"]): row for row in found if row["system"]}
    fused = ["torch linear_cross_entropy"] * hasattr(functional, "linear_cross_entropy")  # torch 2.13
    for system in ("partialfc", "dense twin", "floor", *fused):
        assert measured[system, "float32"]["result"] == "passed"
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
    done = gpu(tmp_path, *TESTS, "--seconds", "40", PARTIALFC_TEST_DEVICE="cpu")
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = rows(tmp_path)[:2]
    assert first["result"] == "cut short"
    assert (second["result"], second["detail"]) == ("left out", "no time was left")
