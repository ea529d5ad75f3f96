"""Accelerators of whatever kind, in torch's own words for all of them: CUDA, ROCm, XPU and others.

`torch.accelerator`, `torch.Stream` and `torch.Event` in place of `torch.cuda`. Nothing here waits for the
device but what says so.
"""

import threading
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


def is_accelerator(device: torch.device) -> bool:
    """Whether a device works behind the program, with memory of its own; False for the CPU."""
    return device.type not in ("cpu", "meta")


def accelerator_here() -> str | None:
    """The kind of accelerator that this machine has for torch, such as "cuda"; None without."""
    present = torch.accelerator.current_accelerator(check_available=True)
    return None if present is None else present.type


def current_accelerator() -> torch.device | None:
    """This process's accelerator, with its number; None where the machine has none."""
    kind = accelerator_here()
    return None if kind is None else torch.device(kind, torch.accelerator.current_device_index())


class _SecondStreams(threading.local):
    """Each thread's own: a torch.Stream notes where it was entered from, and only one thread can be told."""

    def __init__(self) -> None:
        self._by_device: dict[torch.device, torch.Stream] = {}

    def of(self, device: torch.device) -> torch.Stream:
        if device not in self._by_device:
            self._by_device[device] = torch.Stream(device)
        return self._by_device[device]


_second_streams = _SecondStreams()


def beside(device: torch.device) -> AbstractContextManager[object]:
    """Inside, an accelerator works on a second stream, which does not wait for the first one's operations."""
    return _second_streams.of(device) if is_accelerator(device) else nullcontext()


def on_device(host: Tensor, device: torch.device) -> Tensor:
    """`host` on `device`; to an accelerator through pinned memory, so that the program does not wait."""
    if not is_accelerator(device):
        return host.to(device)
    return host.pin_memory().to(device, non_blocking=True)


class OnTheWay:
    """A copy of a tensor's values to the host, which goes on meanwhile.

    To be asked for a step later: the device has more to do by then, so that waiting for it costs nothing.
    """

    def __init__(self, tensor: Tensor) -> None:
        self._arrived: torch.Event | None = None
        if not is_accelerator(tensor.device):
            self._values = tensor.detach().clone()
            return
        self._values = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu").pin_memory()
        self._values.copy_(tensor.detach(), non_blocking=True)
        self._arrived = torch.Event(tensor.device)
        self._arrived.record(torch.accelerator.current_stream(tensor.device))

    def values(self) -> Tensor:
        """The values as they were when the copy was asked for, on the CPU. Waits until they are there."""
        if self._arrived is not None:
            self._arrived.synchronize()
            self._arrived = None
        return self._values


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all that it was told; a CPU always has."""
    if is_accelerator(device):
        torch.accelerator.synchronize(device)


def properties(device: torch.device) -> Any:
    """What an accelerator says of itself; which fields there are depends on its kind."""
    return torch.get_device_module(device).get_device_properties(device)


def has_operator(name: str, device: torch.device) -> bool:
    """Whether torch has an operator, such as "aten::mm.dtype", for this kind of device."""
    key = torch._C._dispatch_key_for_device(device.type)
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(name, key))
