"""The centres' initial values: whose they are does not change them, and making them takes no second copy."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from partialfc.head.initial import BLOCK_ROWS, PIECE, STANDARD_DEVIATION, normal_rows
from partialfc.head.shard import chunk_range
from tests.paths import ROOT

C = 2 * BLOCK_ROWS + 77


def rows(start: int, stop: int, size: int = 24, seed: int = 3, dtype: torch.dtype = torch.float32):
    return normal_rows(start, stop, size, seed=seed, dtype=dtype)


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("size", [1, 7, 24, 500, PIECE + 1])
def test_a_class_has_its_values_whoever_holds_it(size):
    classes = C if size < 1000 else 5
    whole = rows(0, classes, size)
    for world_size in (2, 3, 4):
        parts = [rows(*chunk_range(classes, rank, world_size), size) for rank in range(world_size)]
        assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize("edge", [0, 1, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1, C - 1, C])
def test_a_range_may_begin_and_end_anywhere(edge):
    whole = rows(0, C, 500)  # 65 rows of 500 are a piece, and 1024 no multiple of it
    assert torch.equal(torch.cat([rows(0, edge, 500), rows(edge, C, 500)]), whole)
    one = min(edge, C - 1)
    assert torch.equal(rows(one, one + 1, 500), whole[one : one + 1])


def test_the_number_of_threads_changes_nothing(threads):
    threads(1)
    alone = rows(5, C)
    for count in (2, 5):
        threads(count)
        assert torch.equal(rows(5, C), alone)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_types_hold_the_same_values_rounded(dtype):
    assert torch.equal(rows(3, C, dtype=dtype), rows(3, C).to(dtype))


def test_values_are_normal_and_differ_by_block_and_seed():
    values = rows(0, C, 512).double() / STANDARD_DEVIATION
    count = values.numel()
    for power, moment in ((1, 0), (2, 1), (3, 0), (4, 3)):
        powers = values.pow(power)
        assert abs(powers.mean() - moment) < 5 * powers.std() / count**0.5
    quantiles = np.quantile(values.numpy(), [0.0013499, 0.1586553, 0.5, 0.8413447, 0.9986501])
    np.testing.assert_allclose(quantiles, [-3, -1, 0, 1, 3], atol=0.03)
    first, second = values[:BLOCK_ROWS], values[BLOCK_ROWS : 2 * BLOCK_ROWS]
    other = rows(0, BLOCK_ROWS, 512, seed=4).double() / STANDARD_DEVIATION
    for pair in (second, other):
        assert abs((first * pair).mean()) < 5 / first.numel() ** 0.5
    assert len(values[:, :2].unique(dim=0)) == C  # no row is drawn twice


def test_global_randomness_is_neither_used_nor_moved():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    before = rows(0, 100)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert torch.equal(rows(0, 100), before)


def test_the_default_device_and_inference_mode_are_followed():
    with torch.device("meta"):
        assert rows(0, C).device.type == "meta"
    with torch.inference_mode():
        inferred = rows(0, C)
    assert torch.equal(inferred, rows(0, C))


PEAK = """
import sys
from pathlib import Path
import torch
from partialfc.head.initial import normal_rows

def peak():  # the most memory this process has held, in bytes
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

torch.set_num_threads(2)
normal_rows(0, 5000, 512, seed=0, dtype=torch.bfloat16)
before = peak()
rows = normal_rows(0, 60_000, 512, seed=0, dtype=torch.bfloat16)
print(peak() - before - rows.nbytes)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads peak memory from Linux's /proc")
def test_peak_memory_is_the_result():
    output = subprocess.run(
        [sys.executable, "-c", PEAK], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert int(output.stdout) < 8 << 20  # the result is 59 MiB, in float32 it would be 117
