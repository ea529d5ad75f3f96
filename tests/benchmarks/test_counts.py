"""benchmarks/counts.py: a step takes no more launches and bytes than it may."""

import csv
import subprocess
import sys

import pytest

from tests.paths import ROOT

MOST_LAUNCHES = 120
MOST_BYTES = 1.25  # times the floor's


@pytest.mark.slow
def test_a_step_on_a_gpu_takes_few_launches_and_little_more_than_the_floors_bytes(tmp_path):
    """With as many rows in a step as the benchmark has, of fewer classes."""
    output = tmp_path / "counts.csv"
    command = [
        sys.executable,
        ROOT / "benchmarks" / "counts.py",
        "--classes",
        "250000",
        "--sample-rate",
        "0.5",
    ]
    done = subprocess.run([*command, "--output", output], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with output.open(newline="") as file:
        rows = {row["phase"]: row for row in csv.DictReader(file)}
    step, floor = rows["step"], rows["floor"]
    assert sum(int(rows[phase]["launches"]) for phase in ("forward", "backward", "update")) == int(
        step["launches"]
    )
    assert int(step["launches"]) <= MOST_LAUNCHES
    assert int(step["moved"]) <= MOST_BYTES * int(floor["moved"])
    assert int(step["flops"]) == int(floor["flops"])
    assert "times the floor's bytes" in done.stdout
