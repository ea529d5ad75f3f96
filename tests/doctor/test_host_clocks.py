"""Clocks that are apart."""

import time

import pytest

from partialfc.distributed import World
from partialfc.doctor import Level
from partialfc.doctor.host_clocks import judge_clocks, measure_clocks


def test_clocks_apart_are_yellow_then_red():
    assert judge_clocks([0.0, 0.2], ["a", "b"]).level == Level.GREEN
    assert judge_clocks([0.0, -3.0], ["a", "b"]).level == Level.YELLOW
    late = judge_clocks([0.0, 0.1, -20.0], ["a", "a", "b"])
    assert late.level == Level.RED
    assert "b (rank 2) is 20.1 s behind that of a (rank 1)" in late.says
    both = judge_clocks([0.0, 8.0, -8.0], ["a", "b", "c"])  # each is near rank 0, but not the other
    assert both.level == Level.RED
    assert "c (rank 2) is 16.0 s behind that of b (rank 1)" in both.says


def clocks_with_a_late_rank() -> list[float]:
    world = World.of()
    shift = 20_000_000_000 if world.rank == 1 else 0
    return measure_clocks(world, lambda: time.time_ns() - shift)


def test_a_late_clock_is_measured(run_ranks):
    for offsets in run_ranks(clocks_with_a_late_rank, 3):
        assert offsets == pytest.approx([0.0, -20.0, 0.0], abs=1.0)
        assert judge_clocks(offsets, ["a", "b", "c"]).level == Level.RED
