"""Collectives between processes that each have the device: gloo carries what is behind its tensors.

As NCCL's, a group's collectives run on a stream of its own, in the order of the calls: each waits for the
stream that it is called on, and that stream waits for it. The host waits for none of them.
"""

from datetime import timedelta
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup
from torch.distributed.distributed_c10d import ProcessGroupGloo

from tests.pretend.cost import whole
from tests.pretend.machine import NAME, machine
from tests.pretend.tensor import PretendTensor, behind, wrapped
from tests.pretend.tree import tree_leaves

BACKEND = "pretendccl"
BESIDE_GLOO = f"cpu:gloo,{NAME}:{BACKEND}"  # as "cpu:gloo,cuda:nccl"
ALONE = BACKEND  # as "nccl": the group carries no tensors of the CPU


class Behind:
    """The group that carries the tensors behind a group's, and the stream that its collectives run on."""

    def __init__(self, group: ProcessGroup) -> None:
        self.stream = machine.order.new()
        self.group = ProcessGroup(dist.HashStore(), group.rank(), group.size())
        gloo = group._get_backend(machine.device)
        self.group._register_backend(torch.device("cpu"), ProcessGroup.BackendType.GLOO, gloo)
        self.group._set_default_backend(ProcessGroup.BackendType.GLOO)


_behind: WeakKeyDictionary[ProcessGroup, Behind] = WeakKeyDictionary()


def register() -> None:
    """As a vendor's library for its accelerators: a backend for tensors of this device alone."""
    dist.Backend.register_backend(BACKEND, _gloo, devices=[NAME])


def _gloo(store: dist.Store, rank: int, size: int, timeout: timedelta) -> ProcessGroupGloo:
    return ProcessGroupGloo(store, rank, size, timeout=timeout)


def run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A collective on tensors of the device: of the first argument, and the second where it has any."""
    from tests.pretend.dispatch import log

    group = next(ProcessGroup.unbox(each) for each in args if _is_group(each))
    if group not in _behind:
        _behind[group] = Behind(group)
    carrier, order = _behind[group], machine.order
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    assert all(isinstance(each, PretendTensor) for each in tensors), f"{func} mixes devices"
    gives, takes = ([leaf for leaf in tree_leaves(each) if isinstance(leaf, Tensor)] for each in args[:2])
    caller = order.current
    order.wait(carrier.stream, order.now(caller))
    with order.using(carrier.stream):
        accesses = [whole(each, writes=False) for each in takes or gives]
        log(func.__name__, accesses + [whole(each, writes=True) for each in gives])
    order.wait(caller, order.now(carrier.stream))
    args = tuple(carrier.group.boxed() if _is_group(each) else each for each in args)
    result = func(*behind(args), **behind(kwargs))
    if "reduce_scatter" not in func.__name__:  # of which gloo does not say when it has ended
        works = [dist.Work.unbox(each) for each in tree_leaves(result) if _is(each, "Work")]
        order.holds.append(lambda: not all(work.is_completed() for work in works))
    return wrapped(result, tensors)


def _is_group(value: Any) -> bool:
    return _is(value, "ProcessGroup")


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, torch.ScriptObject) and value._type().name() == kind
