"""benchmarks/counts.py: a step takes no more launches and bytes than it may."""

import pytest

from tests.benchmarks.measured import measured

MOST_LAUNCHES = 120
MOST_BYTES = 1.25  # times the floor's


@pytest.mark.slow
def test_a_step_on_a_gpu_takes_few_launches_and_little_more_than_the_floors_bytes(tmp_path):
    """With as many rows in a step as the benchmark has, of fewer classes."""
    size = ["--classes", "250000", "--sample-rate", "0.5"]
    rows, printed = measured("counts.py", *size, folder=tmp_path)
    by_phase = {row["phase"]: row for row in rows}
    step, floor = by_phase["step"], by_phase["floor"]
    launches = [int(by_phase[phase]["launches"]) for phase in ("forward", "backward", "update")]
    assert sum(launches) == int(step["launches"]) <= MOST_LAUNCHES
    assert int(step["moved"]) <= MOST_BYTES * int(floor["moved"])
    assert int(step["flops"]) == int(floor["flops"])
    assert "times the floor's bytes" in printed
