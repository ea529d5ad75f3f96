"""The watch on a real device, as far as one rank shows it: what it looks at, and how its group is left."""

import threading
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist

from partialfc.distributed import joined_group
from partialfc.distributed.standstill import Standstill
from partialfc.distributed.watch import Watch, error_reported
from tests.devices import DEVICE, on_accelerators_alone, the_device

pytestmark = [pytest.mark.gpu, on_accelerators_alone]


def keep_busy() -> Callable[[], None]:
    """Work that the device has not done when this returns -> what lets it end, if it does not by itself."""
    if DEVICE == "cuda":
        torch.cuda._sleep(1_000_000_000)
        return lambda: None
    from tests.pretend.machine import machine

    ended = threading.Event()
    machine.order.holds.append(lambda: not ended.is_set())
    return ended.set


def test_a_device_stands_still_until_it_has_done_what_it_was_told():
    torch.accelerator.synchronize(the_device())
    with closing(Standstill(the_device())) as standstill:
        end = keep_busy()
        assert not standstill.lasts()
        assert standstill.lasts()
        end()
        while standstill.lasts():
            pass


def test_a_rank_with_an_error_leaves_its_group_at_once(tmp_path):
    device, timeout = the_device(), timedelta(seconds=60)
    torch.accelerator.set_device_index(device)
    store = dist.FileStore(str(tmp_path / "store"), 1)
    with joined_group(device, timeout=timeout, store=store, rank=0, size=1):
        watch = Watch(device, seconds=60.0, store=store, rank=0, size=1)
        watch.start()
        dist.all_reduce(torch.ones(1, device=device))
        assert error_reported(device) == ""
        end = keep_busy()
        watch.leave(MemoryError("out of memory"))
        end()
        watch.stop()
        assert not dist.is_initialized()
