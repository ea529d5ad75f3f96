"""Process groups that speak one backend, or for one kind of device only."""

from datetime import timedelta

import pytest
import torch
import torch.distributed as dist

import partialfc
from partialfc.distributed import World, joined_group


def losses(backend: str) -> list[float]:
    """Of three steps of a head over such a group."""
    if backend == "renamed":  # as a backend of another vendor, known for one device alone
        dist.Backend.register_backend("renamed", renamed_gloo, devices=["cpu"])
    group = dist.new_group(backend=backend)
    torch.manual_seed(World.of().rank)
    head = partialfc.PartialFC(8, 10, margin=partialfc.ArcFace(), sample_rate=0.5, process_group=group)
    optimizer = partialfc.RowSGD(head, lr=0.1)
    found = []
    for _ in range(3):
        loss = head(torch.randn(4, 8, requires_grad=True), torch.randint(0, 10, (4,)))
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


def renamed_gloo(
    store: dist.Store, rank: int, size: int, timeout: timedelta
) -> dist.distributed_c10d.ProcessGroupGloo:
    return dist.distributed_c10d.ProcessGroupGloo(store, rank, size, timeout=timeout)


@pytest.mark.parametrize("backend", ["cpu:gloo", "renamed", "cpu:gloo,cuda:gloo"])
def test_any_group_that_carries_the_tensors_does(run_ranks, backend):
    assert run_ranks(losses, 2, backend) == run_ranks(losses, 2, "gloo")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_group_that_does_not_is_named(rank_outcomes):
    for outcome in rank_outcomes(losses, 2, "cuda:gloo"):
        assert isinstance(outcome, partialfc.DistributedError)
        assert "carries no cpu tensors, its backends are gloo for cuda; make it with" in str(outcome)


def test_a_device_that_nothing_carries_is_named():
    """As where the package of its vendor was not imported. (hpu: torch's fake backend may carry it.)"""
    one = {"timeout": timedelta(seconds=30), "store": dist.HashStore(), "rank": 0, "size": 1}
    with pytest.raises(partialfc.ConfigError, match="would carry tensors of ipu between ranks: install"):
        joined_group(torch.device("ipu", 0), **one).__enter__()
    assert not dist.is_initialized()
