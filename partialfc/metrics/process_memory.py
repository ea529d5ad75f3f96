"""The memory that a process holds in RAM and on its GPU, read at every scrape."""

import os
from pathlib import Path

import torch

from partialfc.distributed.accelerator import is_accelerator
from partialfc.metrics.registry import Registry

STATM = Path("/proc/self/statm")


def follow_memory(registry: Registry, device: torch.device) -> None:
    """Let the registry's memory gauges read this process's memory, and its GPU's where `device` is one."""
    if STATM.exists():
        registry.follow("partialfc_process_resident_bytes", _resident_bytes)
    if is_accelerator(device):
        allocated, reserved = torch.accelerator.memory_allocated, torch.accelerator.memory_reserved
        registry.follow("partialfc_gpu_memory_bytes", lambda: allocated(device), kind="allocated")
        registry.follow("partialfc_gpu_memory_bytes", lambda: reserved(device), kind="reserved")


def _resident_bytes() -> float:
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
