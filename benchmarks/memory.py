"""How much memory a process and its machine have in use, in bytes.

On the CPU from Linux's /proc; on an accelerator as torch's allocator counts it for this process.
"""

from pathlib import Path

import torch
from torch import Tensor

from partialfc.distributed.accelerator import is_accelerator

CPU = torch.device("cpu")


def resident(device: torch.device = CPU) -> int:
    if is_accelerator(device):
        return int(torch.accelerator.memory_allocated(device))
    return _kilobytes("/proc/self/status", "VmRSS") << 10


def peak(device: torch.device = CPU) -> int:
    """The most that was resident since the start or the last `reset_peak`."""
    if is_accelerator(device):
        return int(torch.accelerator.max_memory_allocated(device))
    return _kilobytes("/proc/self/status", "VmHWM") << 10


def reset_peak(device: torch.device = CPU) -> None:
    if is_accelerator(device):
        torch.accelerator.reset_peak_memory_stats(device)
    else:
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
