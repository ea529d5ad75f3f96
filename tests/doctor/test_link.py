"""The link between ranks, measured."""

import torch

from partialfc.distributed import World
from partialfc.doctor.link import FIRST, LARGEST, Link, measure_link


def a_link() -> Link:
    return measure_link(World.of(), torch.device("cpu"))


def test_every_rank_measures_the_same_link(run_ranks):
    first, second = run_ranks(a_link, 2)
    assert first == second
    for rate in (first.all_reduce, first.all_gather):
        assert 0 < rate.latency < 10
        assert 1e4 < rate.bandwidth < 1e12


def largest_message() -> int:
    world, sizes = World.of(), list[int]()
    world.traffic.observer = lambda _, size, __: sizes.append(size)
    measure_link(world, torch.device("cpu"))
    return max(sizes)


def test_no_message_outgrows_the_memory_however_many_ranks_send_it(run_ranks):
    assert all(FIRST < size <= LARGEST for size in run_ranks(largest_message, 3))
