"""Collectives between ranks that each have the device: gloo's values, on streams, no wait of the host."""

from typing import Any

import pytest
import torch
import torch.distributed as dist

from tests.pretend.collectives import ALONE, BESIDE_GLOO
from tests.pretend.machine import machine

DEVICE = "pretend"


def every_collective(device: str) -> tuple[dict[str, torch.Tensor], list[str]]:
    rank = dist.get_rank()
    own = torch.arange(4.0).add_(10 * rank).to(device)
    made = {
        name: torch.empty(size, device=device)
        for name, size in {"gathered": 8, "kept": 2, "dealt": 4}.items()
    }
    machine.log.clear()
    made["reduced"] = own.clone()
    dist.all_reduce(made["reduced"])
    dist.all_gather_into_tensor(made["gathered"], own)
    dist.reduce_scatter_tensor(made["kept"], own)
    dist.all_to_all_single(made["dealt"], own)
    made["told"] = own.clone()
    dist.broadcast(made["told"], 1, async_op=True).wait()
    faults = [str(fault) for fault in machine.log.faults]
    return {name: value.cpu() for name, value in made.items()}, faults


@pytest.mark.parametrize("backend", [BESIDE_GLOO, ALONE])
def test_values_are_those_of_gloo(ranks_on_pretend, run_ranks, backend):
    expected = run_ranks(every_collective, 2, "cpu")
    for (found, faults), (values, _) in zip(
        ranks_on_pretend(every_collective, 2, DEVICE, backend=backend), expected, strict=True
    ):
        assert faults == []
        for name, value in values.items():
            assert torch.equal(found[name], value), name


def gather_what_another_stream_writes(*, wait: bool) -> list[str]:
    side = torch.Stream(DEVICE)
    with side:
        own = torch.ones(2, device=DEVICE)
    if wait:
        torch.accelerator.current_stream().wait_stream(side)
    own.record_stream(torch.accelerator.current_stream())
    gathered = torch.empty(4, device=DEVICE)
    dist.all_gather_into_tensor(gathered, own)
    gathered.sum()
    return [fault.kind for fault in machine.log.faults]


def two_streams() -> dict[bool, list[str]]:
    found = {}
    for wait in (True, False):
        machine.log.clear()
        found[wait] = gather_what_another_stream_writes(wait=wait)
    return found


def test_a_collective_comes_after_the_stream_that_it_is_called_on(ranks_on_pretend):
    for found in ranks_on_pretend(two_streams, 2, backend=ALONE):
        assert found[True] == []
        assert "race" in found[False]


def on_the_cpu() -> Any:
    dist.all_reduce(torch.ones(2))


def test_a_group_of_the_device_alone_carries_no_tensor_of_the_cpu(ranks_on_pretend):
    with pytest.raises(RuntimeError, match="No backend type associated with device type cpu"):
        ranks_on_pretend(on_the_cpu, 2, backend=ALONE)
