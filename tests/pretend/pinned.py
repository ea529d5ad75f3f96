"""Pinned memory, and copies between it and the device that come later than the call.

A copy to the host has not arrived until the host has seen an event after it: until then the pinned memory
holds nonsense. One that a thread beside the program asks for, which looks at the memory alone, keeps what was
there, and arrives once the device is not held. A copy to the device reads the pinned memory later, so it must
not change before.
"""

import threading

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from tests.pretend.log import Log
from tests.pretend.streams import Clock, Order, reached


class Pinned:
    """Which host memory is pinned, and the copies under way."""

    def __init__(self, log: Log, order: Order) -> None:
        self._log, self._order = log, order
        self._storages: dict[int, StorageWeakRef] = {}
        self._to_host: list[tuple[Clock, Tensor, Tensor]] = []
        self._to_device: list[tuple[Clock, Tensor, Tensor]] = []
        self._lock = threading.RLock()
        order.when_known.append(self.settle)

    def pin(self, tensor: Tensor) -> Tensor:
        """A copy in pinned memory."""
        copy = tensor.detach().clone()
        self.mark(copy)
        return copy

    def mark(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        self._storages = {key: ref for key, ref in self._storages.items() if not ref.expired()}
        self._storages[storage._cdata] = StorageWeakRef(storage)

    def is_pinned(self, tensor: Tensor) -> bool:
        found = self._storages.get(tensor.untyped_storage()._cdata)
        return found is not None and not found.expired()

    def arrives_late(self, target: Tensor, value: Tensor) -> None:
        """target, in pinned memory, gets the value [same shape] once the host knows of it."""
        now, beside = self._order.now(self._order.current), is_beside_the_program()
        if not beside:
            target.fill_(torch.nan if target.is_floating_point() else 77)
        with self._lock:
            self._to_host.append((now, target, value.clone()))
        if beside:
            threading.Thread(target=self._order.host_knows, args=(now,), daemon=True).start()

    def is_read_late(self, source: Tensor) -> None:
        """source, in pinned memory, must stay as it is until the host knows that it was read."""
        with self._lock:
            self._to_device.append((self._order.now(self._order.current), source, source.clone()))

    def settle(self) -> None:
        """The host knows more than before."""
        with self._lock:
            self._settle()

    def _settle(self) -> None:
        known = self._order.host
        for _, target, value in [each for each in self._to_host if reached(each[0], known)]:
            target.copy_(value)
        for _, source, value in [each for each in self._to_device if reached(each[0], known)]:
            if not torch.equal(source.nan_to_num(), value.nan_to_num()):
                self._log.fault("race", "pinned memory changed before the device had read it")
        self._to_host = [each for each in self._to_host if not reached(each[0], known)]
        self._to_device = [each for each in self._to_device if not reached(each[0], known)]


def is_beside_the_program() -> bool:
    """Whether this is a thread that Python code started, and so none of autograd's."""
    thread = threading.current_thread()
    return thread is not threading.main_thread() and not isinstance(thread, threading._DummyThread)
