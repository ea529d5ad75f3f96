"""Which ranks a failed collective blames, and how long that takes."""

from datetime import timedelta

import torch
import torch.distributed as dist

from partialfc.distributed import World
from partialfc.distributed.failures import naming_failures, silent_ranks
from partialfc.errors import DistributedError


def test_all_silent_ranks_are_waited_for_together():
    """A minute would be over after 12 of them, if each were waited for in turn."""
    store = dist.HashStore()
    for rank in range(0, 1000, 2):
        store.set(str(rank), "")
    assert silent_ranks(store, rank=0, size=1000, seconds=0.3) == list(range(1, 1000, 2))


def test_ranks_that_all_report_are_not_waited_for():
    store = dist.HashStore()
    store.set("1", "")
    assert silent_ranks(store, rank=0, size=2, seconds=100_000) == []


def test_a_store_that_is_gone_blames_no_rank_least_of_all_this_one():
    port, options = 0, {"wait_for_workers": False, "timeout": timedelta(seconds=30)}
    server = dist.TCPStore("127.0.0.1", port, is_master=True, **options)
    client = dist.TCPStore("127.0.0.1", server.port, is_master=False, **options)
    del server
    assert silent_ranks(client, rank=1, size=3, seconds=0.1) is None


def pairs_of_which_one_loses_a_rank():
    """Two groups in one job: the report of rank 0 of the first is not that of rank 0 of the second."""
    rank = dist.get_rank()
    # The time-out bounds how long ranks may take to meet here too; a rank that leaves ends the wait at once.
    groups = [dist.new_group(ranks, timeout=timedelta(seconds=30)) for ranks in ([0, 1], [2, 3])]
    if rank % 2:
        return
    World.of(groups[rank // 2]).barrier()


def test_groups_do_not_hear_each_others_reports(rank_outcomes):
    outcomes = rank_outcomes(pairs_of_which_one_loses_a_rank, 4)
    for rank in (0, 2):
        assert isinstance(outcomes[rank], DistributedError)
        assert "failed on rank 0 of 2: no answer from rank 1;" in str(outcomes[rank])


def an_error_of_something_else():
    with naming_failures("a step", rank=dist.get_rank(), size=2):
        torch.ones(2) @ torch.ones(3)


def test_an_error_that_is_no_collectives_stays_as_it_is(rank_outcomes):
    for outcome in rank_outcomes(an_error_of_something_else, 2):
        assert isinstance(outcome, RuntimeError)
        assert not isinstance(outcome, DistributedError)
