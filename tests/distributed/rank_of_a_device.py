"""A rank whose device, the pretend one, waits for other ranks as a GPU does: the program goes on meanwhile.

`python -m tests.distributed.rank_of_a_device TIMEOUT TASK_OF_RANK_0 TASK_OF_RANK_1 ...`, in the environment
of a rank. Tasks are functions below, or connect_in_vain: the device's group is not made, as where NCCL finds
no way through the network. A rank that has come to its end says "done".
"""

import os
import signal
import sys
import threading
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from tests.pretend.device import install
from tests.pretend.machine import machine

LONG = 10_000  # seconds, which no test waits


def reduce() -> None:
    """A collective of the device, and then a wait for it, as any loop has one in some place."""
    call("allreduce", [torch.ones(1)])


def reduce_and_fill() -> None:
    """As a GPU whose queue of operations is full while it waits: the program waits in its next one."""
    machine.order.full = True
    reduce()


def gather() -> None:
    """Another collective than the others call."""
    call("allgather", [[torch.empty(3) for _ in range(dist.get_world_size())]], [torch.ones(3)])


def call(collective: str, *tensors: Any) -> None:
    """A gloo collective of the device's own group, which holds the device until it has succeeded."""
    assert dist.group.WORLD is not None
    work = getattr(dist.group.WORLD._get_backend(machine.device), collective)(*tensors)
    machine.order.holds.append(lambda: not (work.is_completed() and work.is_success()))
    on_device = torch.zeros(1, device=machine.device)
    on_device += 1.0
    on_device.item()


def stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail() -> None:
    raise MemoryError("CUDA out of memory")


def fail_and_hang() -> None:
    """As where NCCL does not give up a collective."""
    dist.distributed_c10d._abort_process_group = lambda: threading.Event().wait()
    fail()


def be_busy() -> None:
    """In a line of the package."""
    for _ in looks(LONG):
        pass


if __name__ == "__main__":
    install()
    from partialfc.distributed.group import joined_group
    from partialfc.distributed.rendezvous import connect, looks, meet

    timeout, *tasks = sys.argv[1:]
    if "connect_in_vain" in tasks:
        dist.Backend.register_backend("connecting", lambda *_: be_busy(), devices=["pretend"])
        dist.Backend.default_device_backend_map["pretend"] = "connecting"
    store, rank, size = connect(timedelta(seconds=LONG))
    store, _ = meet(store, rank=rank, size=size, timeout=timedelta(seconds=LONG))
    seconds = timedelta(seconds=float(timeout))
    with joined_group(machine.device, timeout=seconds, store=store, rank=rank, size=size):
        reduce()
        globals()[tasks[rank]]()
    print("done", flush=True)
