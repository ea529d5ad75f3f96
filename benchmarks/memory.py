"""How much memory this process and the machine have in use, from Linux's /proc; in bytes."""

from pathlib import Path

import torch
from torch import Tensor


def resident() -> int:
    return _kilobytes("/proc/self/status", "VmRSS") << 10


def peak() -> int:
    """The most that was resident since the start or the last `reset_peak`."""
    return _kilobytes("/proc/self/status", "VmHWM") << 10


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def available() -> int:
    """What new processes could take on this machine without swapping."""
    return _kilobytes("/proc/meminfo", "MemAvailable") << 10


def total() -> int:
    return _kilobytes("/proc/meminfo", "MemTotal") << 10


def touch(tensors: list[Tensor]) -> None:
    """Make every page resident: zeros that were never written take no memory, in a long run they would."""
    with torch.no_grad():
        for tensor in tensors:
            tensor.add_(0)


def _kilobytes(path: str, name: str) -> int:
    for line in Path(path).read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise RuntimeError(f"{path} has no {name}")
