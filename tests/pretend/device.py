"""What torch asks of a device, and `install`, which tells torch of this one.

From then on `torch.accelerator` speaks of it, so a process does this once, before its first backward pass
(autograd counts the devices then), and never goes back.

In torch itself these are put in place of others, because torch serves them from C++ alone:
torch.Stream, torch.Event, and of torch.accelerator the streams, `synchronize`, the current device and the
figures of memory;
torch.compile, which needs a compiler for the device; torch.utils.dlpack, which needs addresses.
"""

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.utils import backend_registration, dlpack

from tests.pretend import autocast, collectives, dispatch, fused
from tests.pretend.cache import CACHE
from tests.pretend.machine import NAME, machine
from tests.pretend.memory import TOTAL_MEMORY
from tests.pretend.streams import Event, Stream
from tests.pretend.tensor import PretendTensor

_library: list[torch.library.Library] = []  # kernels live as long as it does


class Module(backend_registration._DummyBackendModule):
    """`torch.pretend`."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]

    def get_device_properties(self, device: Any = None) -> SimpleNamespace:
        return SimpleNamespace(name=NAME, L2_cache_size=CACHE, total_memory=TOTAL_MEMORY)

    def current_stream(self, device: Any = None) -> Stream:
        return Stream(machine.order, machine.order.current)

    def stream(self, stream: Stream) -> Stream:
        """As torch.cuda.stream: inside `with`, it is the current one. torch saves checkpoints so."""
        return stream

    def get_rng_state(self, device: Any = None) -> Tensor:
        return torch.get_rng_state()

    def set_rng_state(self, state: Tensor, device: Any = None) -> None:
        torch.set_rng_state(state)


class NewStream(Stream):
    """As torch.Stream is called."""

    def __init__(self, device: Any = None, *, priority: int = 0) -> None:
        super().__init__(machine.order, machine.order.new())


class NewEvent(Event):
    """As torch.Event is called."""

    def __init__(self, device: Any = None, *, enable_timing: bool = False, blocking: bool = False) -> None:
        super().__init__(machine.order)


def install() -> torch.device:
    """Register the device, unless it is there already -> `pretend:0`."""
    if not _library:
        backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=Module())
        _library.extend([_kernels(), _host_kernels(), *autocast.libraries()])
        collectives.register()
        _patch()
    return machine.device


def _kernels() -> torch.library.Library:
    """Operations that no tensor of the device leads to."""
    library = torch.library.Library("aten", "IMPL", "PrivateUse1")

    def empty(size: Any, *, dtype: Any = None, device: Any = None, **_: Any) -> Tensor:
        machine.check_here(device)
        return dispatch.new(size, None, dtype)

    def empty_strided(size: Any, stride: Any, *, dtype: Any = None, device: Any = None, **_: Any) -> Tensor:
        machine.check_here(device)
        return dispatch.new(size, stride, dtype)

    def copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
        return dispatch.copy(target, source, non_blocking)

    def arange(*numbers: Any, dtype: Any = None, **_: Any) -> Tensor:
        return dispatch.made(torch.arange(*numbers, dtype=dtype, device=machine.behind), "arange")

    for name in ("arange", "arange.start", "arange.start_step"):  # which would resize an empty tensor
        library.impl(name, arange)
    library.impl("empty.memory_format", empty)
    library.impl("empty_strided", empty_strided)
    library.impl("_copy_from", copy_from)
    # A program asks the dispatcher whether a device has these; as any other operation, they run above.
    for name in ("mm.dtype", "_fused_sgd_", "_fused_adamw_"):
        library.impl(name, torch.mm)
    return library


def _host_kernels() -> torch.library.Library:
    """Pinned memory, which is the host's."""
    library = torch.library.Library("aten", "IMPL", "CPU")
    library.impl("_pin_memory", lambda tensor, device=None: machine.pinned.pin(tensor))
    library.impl("is_pinned", lambda tensor, device=None: machine.pinned.is_pinned(tensor))
    return library


def _patch() -> None:
    order, accelerator = machine.order, torch.accelerator
    from_dlpack, to_dlpack, real_compile = dlpack.from_dlpack, dlpack.to_dlpack, torch.compile

    def handle(tensor: Any, **options: Any) -> Tensor:
        if not isinstance(tensor, PretendTensor):
            return from_dlpack(tensor, **options)
        return PretendTensor(tensor.behind.detach(), tensor.memory)

    def compiled(function: Any = None, **options: Any) -> Any:
        return real_compile(**options) if function is None else fused.compile(function, **options)

    def synchronize(device: Any = None, /) -> None:
        machine.log.fault("wait", "synchronize")
        order.host_knows(order.everything())

    def set_index(device: Any, /) -> None:
        machine.index = device if isinstance(device, int) else torch.device(device).index or 0

    def reset_peak(device: Any = None, /) -> None:
        machine.memory.peak = machine.memory.allocated

    replaced: dict[str, Any] = {
        "current_stream": torch.get_device_module(NAME).current_stream,
        "synchronize": synchronize,
        "empty_cache": lambda: None,
        "current_device_index": lambda: machine.index,
        "set_device_index": set_index,
        "memory_allocated": lambda device=None, /: machine.memory.allocated,
        "memory_reserved": lambda device=None, /: machine.memory.peak,
        "max_memory_allocated": lambda device=None, /: machine.memory.peak,
        "reset_peak_memory_stats": reset_peak,
        "get_memory_info": lambda device=None, /: (TOTAL_MEMORY - machine.memory.allocated, TOTAL_MEMORY),
    }
    for name, function in replaced.items():
        setattr(accelerator, name, function)
    torch.Stream, torch.Event = NewStream, NewEvent  # type: ignore[assignment, misc]
    torch.compile = compiled  # type: ignore[assignment]
    dlpack.from_dlpack = handle
    dlpack.to_dlpack = lambda tensor: tensor if isinstance(tensor, PretendTensor) else to_dlpack(tensor)
