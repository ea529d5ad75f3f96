"""benchmarks/phases.py finds every part of the head's step, and its parts make up the step."""

import pytest

from tests.benchmarks.measured import measured

PARTS = ["gather", "cosines", "exponentials", "pull", "push", "update", "sampling", "rest"]


@pytest.mark.slow
def test_the_parts_of_a_step_make_up_the_step(tmp_path):
    size = ["--cases", "sampled", "--compute", "bfloat16", "--shrink", "1000", "--threads", "1"]
    rows, printed = measured("phases.py", *size, "--warmup", "1", "--steps", "1", folder=tmp_path)
    assert sorted(row["part"] for row in rows) == sorted(PARTS)
    assert all(float(row["median_s"]) > 0.0 for row in rows)
    assert sum(float(row["median_s"]) for row in rows) == pytest.approx(float(rows[0]["step_s"]), rel=1e-2)
    assert sum(float(row["floor_s"]) for row in rows) == pytest.approx(
        float(rows[0]["step_floor_s"]), rel=1e-2
    )
    for part in PARTS:
        assert part in printed
