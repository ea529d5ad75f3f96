"""The collectives: what each is counted as moving, and the narrower type that rows may travel in."""

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn

from partialfc.distributed import World

D = 3
BYTES = {torch.float32: 4, torch.bfloat16: 2}


def counts_of(world: World) -> tuple[dict[str, int], dict[str, int]]:
    return dict(world.traffic.calls), dict(world.traffic.bytes)


def exchange(dtype: torch.dtype, counts: Sequence[int]) -> dict[str, Any]:
    """Every collective once on rows of this rank: what came out, and what was counted."""
    world = World.of()
    rows = torch.full((counts[world.rank], D), world.rank + 0.5, dtype=dtype)
    gathered = world.all_gather_rows(rows, counts)
    scattered = world.reduce_scatter_rows(gathered, counts)
    reduced = world.all_reduce_sum(torch.ones(5))
    world.broadcast_buffers(nn.BatchNorm1d(D))
    counted, total = counts_of(world), world.traffic.total()
    world.traffic.reset()
    return {
        "gathered": gathered,
        "scattered": scattered,
        "reduced": reduced,
        "counted": counted,
        "total": total,
        "after": (*counts_of(world), world.traffic.total()),
    }


@pytest.mark.parametrize("dtype", BYTES)
@pytest.mark.parametrize("counts", [(2, 2), (4, 1)])  # even, and one rank's rows padded to the other's
def test_every_collective_is_counted_by_calls_and_bytes(run_ranks, dtype, counts):
    rows = 2 * max(counts) * D * BYTES[dtype]
    buffers = D * 4 + D * 4 + 8  # BatchNorm's mean, variance and count of batches
    expected = {"all_gather": rows, "reduce_scatter": rows, "all_reduce": 5 * 4, "broadcast": buffers}
    for result in run_ranks(exchange, 2, dtype, counts):
        calls, moved = result["counted"]
        assert calls == {"all_gather": 1, "reduce_scatter": 1, "all_reduce": 1, "broadcast": 3}
        assert moved == expected
        assert result["total"] == sum(expected.values())
        assert result["after"] == ({}, {}, 0)


@pytest.mark.parametrize("dtype", BYTES)
@pytest.mark.parametrize("counts", [(2, 2), (4, 1), (0, 3)])
def test_rows_travel_in_the_type_they_are_given_in(run_ranks, dtype, counts):
    """gloo gathers, and sums, bfloat16 as it does float32: half the bytes of a step."""
    for rank, result in enumerate(run_ranks(exchange, 2, dtype, counts)):
        expected = [0.5] * counts[0] + [1.5] * counts[1]
        assert result["gathered"].dtype == result["scattered"].dtype == dtype
        assert result["gathered"].tolist() == [[value] * D for value in expected]
        assert result["scattered"].tolist() == [[2 * (rank + 0.5)] * D] * counts[rank]
        assert result["reduced"].tolist() == [2.0] * 5


def host_exchanges() -> list[tuple[dict[str, int], dict[str, int]]]:
    world = World.of()
    world.gather_integers([1, 2, 3])
    integers = counts_of(world)
    world.barrier()
    return [integers, counts_of(world)]


def test_small_host_values_are_counted_too(run_ranks):
    for integers, with_barrier in run_ranks(host_exchanges, 2):
        assert integers == ({"all_gather": 1}, {"all_gather": 2 * 3 * 8})
        assert with_barrier == ({"all_gather": 2}, {"all_gather": 2 * 3 * 8 + 2 * 8})


def times() -> tuple[dict[str, float], list[tuple[str, int, float]], dict[str, float]]:
    """Two collectives: the seconds kept, what an observer was told, and the seconds after a reset."""
    world = World.of()
    told: list[tuple[str, int, float]] = []
    world.traffic.observer = lambda *call: told.append(call)
    world.all_reduce_sum(torch.ones(5))
    world.all_gather_rows(torch.ones(2, D), [2, 2])
    seconds = dict(world.traffic.seconds)
    world.traffic.reset()
    return seconds, told, dict(world.traffic.seconds)


def test_every_collective_is_timed(run_ranks):
    for seconds, told, after in run_ranks(times, 2):
        assert [call[:2] for call in told] == [("all_reduce", 20), ("all_gather", 4 * D * 4)]
        assert seconds == {collective: took for collective, _, took in told}
        assert min(seconds.values()) > 0
        assert after == {}


def test_one_rank_alone_moves_nothing(run_ranks):
    for alone in (exchange(torch.float32, [4]), *run_ranks(exchange, 1, torch.float32, [4])):
        assert alone["counted"] == ({}, {})
        assert alone["total"] == 0


def test_worlds_are_equal_whatever_they_have_counted():
    used, fresh = World(None, 0, 1), World(None, 0, 1)
    used.traffic.add("all_reduce", torch.ones(2))
    assert used == fresh
    assert hash(used) == hash(fresh)
    assert fresh.traffic.calls == {}
    assert copy.deepcopy(used).traffic.bytes == {"all_reduce": 8}
