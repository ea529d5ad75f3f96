"""The least time of a step, by hand."""

from dataclasses import replace

import pytest

from partialfc.plan import Speed, plan
from tests.plan.cases import GB, SMALL


def test_the_floor_by_hand():
    """Three products for kept rows, four for others; rows and momentum read twice and written once."""
    speed = Speed.of(SMALL, gemm_rate=1e12, memory_bandwidth=1e10)
    setting = replace(SMALL, classes=1000, embedding=128)
    floor = plan(setting, memory=GB, speed=speed).floor
    rows, samples, size = 300, 16, 128
    assert floor.flops == 3 * 2 * samples * rows * size
    assert floor.bytes == rows * size * (8 + 2 * 8) + 2 * rows * samples * 4
    assert floor.seconds == pytest.approx(floor.flops / 1e12 + floor.bytes / 1e10)
    recomputed = plan(replace(setting, embedding=64), memory=GB, speed=speed).floor
    assert recomputed.flops == 4 * 2 * samples * rows * 64
    assert recomputed.bytes == rows * 64 * (8 + 2 * 8)
