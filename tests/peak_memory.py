"""How much memory a call takes while it runs."""

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path


def peak_of(call: Callable[[], object]) -> int:
    """Bytes of the most that this process held during the call, over what it held before.

    What was freed before is given back first: how much of that an allocator still holds is chance, and the
    call would use it unseen.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM is from now on the peak since this line
    before = _status("VmRSS")
    call()
    return _status("VmHWM") - before


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))
