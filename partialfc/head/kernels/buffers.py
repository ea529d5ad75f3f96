"""Memory of a step's tensors: buffers that the next step uses again, and copies that do not block."""

import weakref

import torch
from torch import Tensor


def on_device(host: Tensor, device: torch.device) -> Tensor:
    """`host` on `device`; to a GPU through pinned memory, without a synchronisation."""
    if device.type != "cuda":
        return host.to(device)
    return host.pin_memory().to(device, non_blocking=True)


class Pool:
    """Large host buffers that return to the pool when their tensor is freed.

    The first write to new memory costs a page fault every 4 KiB: for the exponentials of a step 15 ms per
    50 MB, as much as a fast GEMM. On a GPU torch's caching allocator does the same.
    """

    def __init__(self) -> None:
        self._free: list[Tensor] = []

    def take(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        """An uninitialised tensor. It keeps its buffer as long as it is held; slices of it alone do not."""
        if device.type == "cuda":
            return torch.empty(shape, dtype=dtype, device=device)
        count = torch.Size(shape).numel()
        size = count * dtype.itemsize
        # Not one that is far too large: the next call may need all of it.
        fits = [buffer for buffer in self._free if size <= len(buffer) <= 4 * size]
        if fits:
            buffer = min(fits, key=len)
            self._free = [other for other in self._free if other is not buffer]
        else:
            self._free = [other for other in self._free if len(other) > size]
            buffer = torch.empty(size, dtype=torch.uint8)
        result = buffer[:size].view(dtype).view(shape)
        weakref.finalize(result, _give_back, weakref.ref(self), buffer)
        return result

    def __reduce__(self) -> tuple[type["Pool"], tuple[()]]:
        """Copied or pickled, a pool starts empty."""
        return Pool, ()


def _give_back(pool: "weakref.ref[Pool]", buffer: Tensor) -> None:
    owner = pool()
    if owner is not None:
        owner._free.append(buffer)
