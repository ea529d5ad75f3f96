"""The kernels' Triton code for a named GPU that is not there: compiled, counted, and interpreted.

The calls are those of real steps, so a new kernel or dtype is among them as soon as the head uses it.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.torch_version import TorchVersion

from tests.absent_gpu.calls import Call, Place, Problem, mapped, record, variant
from tests.absent_gpu.interpret import tensor_at
from tests.absent_gpu.worker import HAS_TRITON, run
from tests.pretend.worker import Worker

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not HAS_TRITON, reason="Triton is not installed: pip install triton"),
]

CAPABILITY = 90  # an H100
TRIED = ["bfloat16, int8 momentum"]  # benchmarks/triton_code.py has all of CASES
# ArcFace's derivatives: two of the results are zeros, which Inductor fills apart. T numbers each.
LAUNCHES = {"_derived": 3}
if TorchVersion(torch.__version__) < (2, 12):  # whose Inductor fills a stack of rows apart from the rest
    LAUNCHES["_of_samples"] = 2
ROWS, SAMPLED, EMBEDDING, HUGE = 300, 90, 512, 10_000_000


@pytest.fixture(scope="module")
def calls() -> list[Call]:
    """Recorded in a process for that alone, where no kernel was compiled before."""
    worker, found = Worker(), {}
    problem = Problem(ROWS, 40, EMBEDDING, SAMPLED / ROWS, False)
    try:
        for case in TRIED:
            for call in worker.run(record, case, problem):
                found.setdefault(variant(call), call)
    finally:
        worker.close()
    return list(found.values())


@pytest.fixture(scope="module")
def built(calls: list[Call], tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    return run("build", CAPABILITY, calls, tmp_path_factory.mktemp("build"))


def test_each_call_is_one_launch_that_spills_nothing(calls: list[Call], built: list[Any]) -> None:
    for call, (_, launched, kernels) in zip(calls, built, strict=True):
        assert launched == LAUNCHES.get(call.name, 1), call.name
        assert not any(kernel.spilled or kernel.wide for kernel in kernels), (call.name, kernels)


def test_no_call_takes_memory_but_for_what_it_returns(calls: list[Call], built: list[Any]) -> None:
    """Rows make no detour through the GPU's memory, as benchmarks/counts.py supposes."""
    for call, (code, _, _) in zip(calls, built, strict=True):
        assert code.source.count("= empty_strided_cuda(") <= len(call.returned), call.name


def test_interpreted_the_code_gives_the_kernels_numbers(
    calls: list[Call], built: list[Any], tmp_path: Any
) -> None:
    """Rounded to bfloat16 without a difference in one place; elsewhere as float32 sums in another order."""
    results = run(
        "interpret",
        CAPABILITY,
        [(call, code) for call, (code, _, _) in zip(calls, built, strict=True)],
        tmp_path,
    )
    for call, (memories, returned) in zip(calls, results, strict=True):
        places: list[Place] = []
        mapped(call.arguments, places.append, Place)
        for place in places:
            found, expected = (tensor_at(each[place.memory], place) for each in (memories, call.after))
            assert is_near(found, expected), call.name
        for expected in call.returned:  # of equal results the code returns one
            assert any(is_near(found, expected) for found in returned), call.name


def test_a_shard_of_more_than_two_billion_numbers_is_counted_in_64_bits(
    calls: list[Call], tmp_path: Any
) -> None:
    huge = [grown(call) for call in calls if call.name in ("sgd", "used_centres", "pay", "adamw")]
    for call, (_, launched, kernels) in zip(huge, run("build", CAPABILITY, huge, tmp_path), strict=True):
        assert (launched, len(kernels), kernels[0].wide) == (1, 1, True), call.name
        assert kernels[0].spilled == 0, call.name


def grown(call: Call) -> Call:
    """The call on a shard of 10M rows."""

    def larger(place: Place) -> Place:
        return replace(place, shape=tuple(HUGE if each == ROWS else each for each in place.shape))

    return replace(call, arguments=mapped(call.arguments, larger, Place), before=[], after=[], returned=[])


def is_near(found: Tensor, expected: Tensor) -> bool:
    """Stored in few bits: nearly all alike, as a sum that differs by a rounding moves some to a neighbour."""
    if found.shape != expected.shape:
        return False
    if not found.numel():
        return True
    found, expected = found.double(), expected.double()
    off = (found - expected).abs() / expected.abs().max().clamp_min(1e-30)
    return bool((off > 1e-5).double().mean() <= 0.01 and off.max() <= 0.02)
