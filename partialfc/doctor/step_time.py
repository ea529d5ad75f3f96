"""Measures in bounded time how long a training step computes on this device, without communication."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from partialfc.distributed.accelerator import is_accelerator, synchronize
from partialfc.head.partial_fc import PartialFC
from partialfc.pool.class_pool import DynamicClassPool

PROBE = 4  # images of the first step; the next has twice as many, and so on while there is time
REPEATS = 5


@dataclass(frozen=True, slots=True)
class BackboneTime:
    """Of a micro-batch: seconds in all, seconds in the backward pass, and bytes of memory at the peak.

    measured: how many images were measured; the figures are scaled to the whole batch.
    """

    seconds: float
    backward: float
    bytes: int
    measured: int


def time_backbone(
    backbone: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    shape: tuple[int, int, int],
    batch: int,
    device: torch.device,
    amp: torch.dtype | None,
    seconds: float,
) -> BackboneTime:
    """Measure forward pass, backward pass and update on random images [batch, *shape].

    Where steps of the whole batch would take longer than `seconds`, fewer images are measured.
    """
    backward = 0.0

    def step(count: int) -> float:
        nonlocal backward
        images = torch.randn(count, *shape, device=device)
        began = _now(device)
        with torch.autocast(device.type, dtype=amp, enabled=amp is not None):
            embedded = backbone(images)
        middle = _now(device)
        if embedded.requires_grad:  # else all of it is frozen
            embedded.backward(torch.full_like(embedded, 1e-6))
        backward = _now(device) - middle
        optimizer.step()
        optimizer.zero_grad()
        return _now(device) - began

    count = min(batch, PROBE)
    step(count)
    while step(count) < seconds / (2 * REPEATS) and count < batch:  # there is time for twice as many
        count = min(batch, 2 * count)
    before = _watch_memory(device)
    step(count)
    times = _repeat(lambda: (step(count), backward), seconds)
    scale = batch / count
    parameters = sum(p.nbytes for p in backbone.parameters())
    gradients = sum(p.nbytes for p in backbone.parameters() if p.requires_grad)
    moments = sum(
        tensor.nbytes
        for state in optimizer.state.values()
        for tensor in state.values()
        if isinstance(tensor, torch.Tensor)
    )
    activations = max(0, _peak_memory(device) - before - parameters)  # without the gradients
    return BackboneTime(
        seconds=scale * statistics.median(total for total, _ in times),
        backward=scale * statistics.median(part for _, part in times),
        bytes=parameters + gradients + moments + int(scale * activations),
        measured=count,
    )


def time_head(
    head: PartialFC, optimizer: torch.optim.Optimizer, *, samples: int, seconds: float
) -> tuple[float, int]:
    """Seconds of a step on `samples` random embeddings, those of all ranks, and how many rows took part."""
    device = head.weight.device
    generator = torch.Generator().manual_seed(0)

    def step() -> float:
        embeddings = torch.randn(samples, head.embedding_size, generator=generator).to(device)
        labels = torch.randint(len(head.weight), (samples,), generator=generator).to(device)
        began = _now(device)
        head(embeddings.requires_grad_(), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
        return _now(device) - began

    step()
    times = _repeat(lambda: (step(), 0.0), seconds)
    return statistics.median(total for total, _ in times), len(head.last_sample)


def time_pool(pool: DynamicClassPool, *, samples: int, inside: int, seconds: float) -> float:
    """Seconds of a step of a full pool on `samples` random embeddings, `inside` of them of classes in it."""
    device, size = pool.features.device, pool.embedding_size
    generator = torch.Generator().manual_seed(0)
    pool.write(torch.randn(pool.size, size, generator=generator).to(device), torch.arange(pool.size))

    def step() -> float:
        embeddings = torch.randn(samples, size, generator=generator).to(device)
        labels = torch.randint(pool.size, (samples,), generator=generator)
        labels[inside:] += pool.size  # of classes that are not in it
        began = _now(device)
        pool(embeddings.requires_grad_(), labels).backward()
        return _now(device) - began

    step()
    return statistics.median(total for total, _ in _repeat(lambda: (step(), 0.0), seconds))


def _repeat(step: Callable[[], tuple[float, float]], seconds: float) -> list[tuple[float, float]]:
    deadline, times = time.perf_counter() + seconds, [step()]
    while len(times) < REPEATS and time.perf_counter() < deadline:
        times.append(step())
    return times


def _now(device: torch.device) -> float:
    synchronize(device)
    return time.perf_counter()


def _watch_memory(device: torch.device) -> int:
    """The bytes in use now; from now on `_peak_memory` counts."""
    if is_accelerator(device):
        torch.accelerator.reset_peak_memory_stats(device)
        return torch.accelerator.memory_allocated(device)
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    return _status("VmRSS")


def _peak_memory(device: torch.device) -> int:
    return torch.accelerator.max_memory_allocated(device) if is_accelerator(device) else _status("VmHWM")


def _status(name: str) -> int:
    """A figure of /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {name}")
