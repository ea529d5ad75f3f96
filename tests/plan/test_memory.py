"""Planned memory against real heads, against the peak of real runs, and by hand."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace

import pytest
import torch

from partialfc.plan import Setting, memory_of, plan
from partialfc.plan.memory import kept_rows_of
from tests.paths import ROOT
from tests.plan import plan_run
from tests.plan.cases import FACES, GB, SMALL

REAL_RUNS = [
    {"classes": 100_000, "embedding": 512, "batch": 256, "sample_rate": 0.05},
    {"classes": 300_000, "embedding": 256, "batch": 256, "sample_rate": 0.05, "weight_dtype": "bfloat16",
     "momentum_dtype": "int8", "compile": False},
    {"classes": 120_000, "embedding": 256, "batch": 256, "sample_rate": 0.1, "optimizer": "adamw"},
    {"classes": 500_000, "embedding": 64, "batch": 256, "sample_rate": 0.1, "unsampled": "frozen"},
    {"classes": 50_000, "embedding": 256, "batch": 128, "sample_rate": 0.1, "sub_centers": 3, "bias": True},
]  # fmt: skip
SIZE_COMPILED = {"classes": 250_000, "embedding": 512, "batch": 256, "sample_rate": 0.2}
COMPILED_RUNS = [
    {**SIZE_COMPILED, "compute_dtype": "bfloat16"},
    {**SIZE_COMPILED, "compute_dtype": "bfloat16", "weight_dtype": "bfloat16", "momentum_dtype": "int8"},
]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"unsampled": "frozen"},
        {"optimizer": "adamw"},
        {"compute_dtype": "float64"},
        {"weight_dtype": "bfloat16", "momentum_dtype": "bfloat16"},
        {"momentum_dtype": "int8"},
        {"momentum_dtype": "int8", "embedding": 600},
        {"sub_centers": 3},
        {"sub_centers": 3, "momentum_dtype": "int8", "weight_dtype": "bfloat16"},
        {"bias": True},
        {"bias": True, "sub_centers": 2, "optimizer": "adamw"},
        {"bias": True, "compute_dtype": "float64"},
    ],
    ids=str,
)
def test_what_is_stored_is_what_a_head_stores(changes):
    setting = replace(SMALL, **changes)
    head, optimizer = plan_run.build(setting)
    memory = memory_of(setting)
    state = optimizer.row_state
    steps = sum(tensor.nbytes for tensor in state.values() if tensor.dtype == torch.int32)
    moments = sum(tensor.nbytes for tensor in state.values()) - steps
    centres = sum(parameter.nbytes for parameter in head.parameters())
    assert (memory.centres, memory.momentum, memory.row_state) == (centres, moments, steps)
    made = plan(setting, memory=GB)
    assert made.checkpoint == centres + moments + steps


@pytest.mark.parametrize("sub_centers", [1, 3])
def test_rows_that_take_part_and_exponentials_that_are_kept(sub_centers):
    setting = replace(SMALL, sub_centers=sub_centers)
    head, _ = plan_run.build(setting)
    head(torch.randn(16, 128, requires_grad=True), torch.arange(16)).backward()
    assert setting.rows == len(head.last_sample)
    kept = memory_of(setting).kept_exponentials
    assert kept == sum(gradient.kept.values.nbytes for gradient in head._waiting._gradients)
    assert kept == 300 * 16 * 4 * sub_centers


@pytest.mark.slow
def test_memory_is_the_peak_of_real_runs():
    assert_within(0.05, REAL_RUNS)


@pytest.mark.slow
def test_memory_is_the_peak_of_compiled_runs():
    assert all(Setting(**asked, gpus=1, device="cpu").compiled for asked in COMPILED_RUNS)
    assert_within(0.05, COMPILED_RUNS)


def assert_within(share: float, runs: list[dict]) -> None:
    """Freed memory goes back to the system, so the peak is what the head holds, not what malloc keeps too."""
    runs = [{**asked, "gpus": 1, "device": "cpu"} for asked in runs]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment["MALLOC_MMAP_THRESHOLD_"] = str(1 << 20)
    command = [sys.executable, "-m", "tests.plan.plan_run", json.dumps(runs)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    planned = [memory_of(Setting(**asked)) for asked in runs]
    for asked, memory, peak in zip(runs, planned, map(int, done.stdout.split()), strict=True):
        assert peak == pytest.approx(memory.total, rel=share), (asked, memory)


def test_memory_by_hand():
    """1.25M centres a GPU; a kept eighth of 2.56 GB; AdamW's two moments; a shard not divisible by 8."""
    memory = memory_of(FACES)
    assert memory.centres == memory.momentum == 1_250_000 * 512 * 4
    assert memory.row_state == 1_250_000 * 4
    assert 0.9 < memory.kept_exponentials / (1_250_000 * 512 * 4 / 8) <= 1  # in whole chunks
    assert memory_of(replace(FACES, optimizer="adamw")).momentum == 2 * memory.momentum
    assert memory_of(replace(FACES, momentum_dtype="int8")).momentum == 1_250_000 * (512 + 4)
    assert memory_of(replace(FACES, momentum_dtype="none")).momentum == 0
    assert memory_of(replace(FACES, classes=10_000_001)).centres == 1_250_001 * 512 * 4
    assert memory.total == sum(asdict(memory).values())


def test_accumulated_batches_share_the_budget_of_kept_exponentials():
    once, twice = replace(FACES, classes=10**6), replace(FACES, classes=10**6, accumulation=2)
    assert kept_rows_of(once) == once.rows
    assert kept_rows_of(twice) == 2 * once.rows
    assert kept_rows_of(replace(FACES, accumulation=9)) <= 1_250_000 * 512 * 4 / 8 / (1024 * 4)
    assert kept_rows_of(replace(FACES, accumulation=10**9)) == kept_rows_of(replace(FACES, accumulation=9))
