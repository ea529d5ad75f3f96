"""An array that the processes of a machine share: its pickle says where it lies, and holds no copy."""

import mmap
import os
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

_FEW = 1 << 20  # bytes that are rather copied

Address = tuple[str, int, int, str, int]  # of memory, its device and inode, the numbers' dtype and count


class SharedArray:
    """An array [n] that nobody writes to. Its pickle may be read while the process that made it lives.

    On Linux the array moves into shared memory when it is first pickled, and every process that unpickles it
    maps that. A small array, and elsewhere any, is copied instead.
    """

    array: npt.NDArray[Any]  # after unpickling from `attach` on

    def __init__(self, array: npt.NDArray[Any]) -> None:
        self.array = array
        self._address: Address | None = None

    def attach(self) -> None:
        """After unpickling; OSError where the process that shares the array has ended."""
        if self._address is not None:
            self.array = _attach(self._address)

    def __getstate__(self) -> dict[str, Any]:
        if self._address is None and hasattr(os, "memfd_create") and self.array.nbytes >= _FEW:
            self._share(self.array)
        return {"_address": self._address} if self._address else self.__dict__

    def _share(self, array: npt.NDArray[Any]) -> None:
        descriptor = os.memfd_create("partialfc")
        weakref.finalize(self, os.close, descriptor)
        os.truncate(descriptor, array.nbytes)
        with mmap.mmap(descriptor, array.nbytes) as memory:
            np.frombuffer(memory, array.dtype)[:] = array
        status = os.fstat(descriptor)
        path = f"/proc/{os.getpid()}/fd/{descriptor}"
        self._address = path, status.st_dev, status.st_ino, array.dtype.str, len(array)
        self.array = _attach(self._address)


def _attach(address: Address) -> npt.NDArray[Any]:
    path, device, inode, dtype, count = address
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        size = count * np.dtype(dtype).itemsize
        if (status.st_dev, status.st_ino, status.st_size) != (device, inode, size):
            raise FileNotFoundError(f"{path} is another process's by now")
        return np.frombuffer(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ), dtype, count)
    finally:
        os.close(descriptor)
