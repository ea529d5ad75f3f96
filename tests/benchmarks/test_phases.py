"""benchmarks/phases.py finds every part of the head's step, and its parts make up the step."""

import csv
import subprocess
import sys

import pytest

from tests.paths import ROOT

PARTS = ["gather", "cosines", "exponentials", "pull", "push", "update", "sampling", "rest"]


@pytest.mark.slow
def test_the_parts_of_a_step_make_up_the_step(tmp_path):
    output = tmp_path / "phases.csv"
    size = ["--cases", "sampled", "--compute", "bfloat16", "--shrink", "1000", "--threads", "1"]
    command = [sys.executable, ROOT / "benchmarks" / "phases.py", *size, "--warmup", "1", "--steps", "1"]
    result = subprocess.run([*command, "--output", output], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    with output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["part"] for row in rows) == sorted(PARTS)
    assert all(float(row["median_s"]) > 0.0 for row in rows)
    assert sum(float(row["median_s"]) for row in rows) == pytest.approx(float(rows[0]["step_s"]), rel=1e-2)
    assert sum(float(row["floor_s"]) for row in rows) == pytest.approx(
        float(rows[0]["step_floor_s"]), rel=1e-2
    )
    for part in PARTS:
        assert part in result.stdout
