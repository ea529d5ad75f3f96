"""Ranks that find each other in a store in which dead processes have left what they wrote."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import torch.distributed as dist

from partialfc.distributed.rendezvous import meet
from partialfc.errors import DistributedError
from tests.processes import ENVIRONMENT, free_port, place, warm_python
from tests.train_cases import saved_config


def met(store, ranks, size, *, seconds=60):
    """What `meet` gave to each of these ranks, each in a thread."""
    with ThreadPoolExecutor(len(ranks)) as pool:
        calls = [
            pool.submit(meet, store, rank=rank, size=size, timeout=timedelta(seconds=seconds))
            for rank in ranks
        ]
    return [call.result() for call in calls]


def test_no_attempt_sees_what_the_one_before_it_wrote():
    store = dist.HashStore()
    for size in (3, 3, 2, 4):
        places = [place for place, absent in met(store, range(size), size) if absent == []]
        assert not any(place.check(["address"]) for place in places)
        places[-1].set("address", str(size))
        assert {place.get("address") for place in places} == {str(size).encode()}


def test_ranks_of_which_one_never_arrives_all_hear_which():
    store = dist.HashStore()
    met(store, range(4), 4)  # all of them were here before
    for _, absent in met(store, [0, 1, 3], 4, seconds=1):
        assert absent == [2]


def test_a_rank_that_waits_in_vain_for_rank_0_says_so():
    store = dist.HashStore()
    met(store, range(2), 2)
    with pytest.raises(DistributedError, match=r"rank 1 of 2: rank 0 did not arrive within 0\.5 s"):
        met(store, [1], 2, seconds=0.5)


def test_training_waits_for_a_missing_rank_no_longer_than_its_timeout(tmp_path):
    config = saved_config(tmp_path)
    environment = ENVIRONMENT | place(0, free_port())
    words = ["-m", "partialfc", "train", config, "train.timeout_seconds=1"]
    ended = warm_python().run(*words, env=environment, cwd=tmp_path)
    assert ended.returncode == 1
    assert "partialfc: DistributedError: rank 1 of 2 did not arrive within 1 s" in ended.stderr
    assert ended.stderr.count("\n") == 1
