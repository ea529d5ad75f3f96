"""Latency and bandwidth between ranks, measured with the collectives that the head calls."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from partialfc.distributed.accelerator import synchronize
from partialfc.distributed.world import World

SMALL = 1 << 10  # bytes of the message whose time is taken as the latency
FIRST = 1 << 16  # bytes of the first message that the bandwidth is measured with
LARGEST = 1 << 26  # bytes that a collective takes or gives on a rank, at most
GROWTH = 4
ROUNDS = 5
LONG_ENOUGH = 0.2  # seconds of one collective, after which no larger message is measured


@dataclass(frozen=True, slots=True)
class Rate:
    """Of a collective: latency, seconds that it takes at any size; bandwidth, bytes a second out of a rank.

    Bytes are counted as a ring sends them, as in plan/communication.py, whatever the backend really sends.
    """

    latency: float
    bandwidth: float

    def seconds(self, sent: float) -> float:
        return self.latency + sent / self.bandwidth


@dataclass(frozen=True, slots=True)
class Link:
    """The connection between ranks, as the slowest of them measured it.

    host_gather: an all-gather from CPU to CPU, as the head's labels go where the rest goes from GPU to GPU.
    """

    all_reduce: Rate
    all_gather: Rate
    host_gather: Rate


def measure_link(world: World, device: torch.device) -> Link:
    """Collective. Messages grow until one takes LONG_ENOUGH, so that a slow link takes only seconds too."""
    once = (world.size - 1) / world.size

    def gather(values: Tensor) -> object:
        return world.all_gather_rows(values, [len(values)] * world.size)

    sent, most = world.size - 1, LARGEST // world.size
    all_gather = _rate(world, device, gather, sent=sent, most=most)
    on_cpu = device.type == "cpu" or world.backend(torch.device("cpu")) == "none"
    return Link(
        all_reduce=_rate(world, device, world.all_reduce_sum, sent=2 * once, most=LARGEST),
        all_gather=all_gather,
        host_gather=all_gather if on_cpu else _rate(world, torch.device("cpu"), gather, sent=sent, most=most),
    )


def _rate(
    world: World, device: torch.device, call: Callable[[Tensor], object], *, sent: float, most: int
) -> Rate:
    """sent: bytes that leave a rank for each byte that goes in; most: bytes that go into a call at most."""
    latency = _seconds(world, device, call, SMALL)
    size = FIRST
    seconds = _seconds(world, device, call, size)
    while seconds < LONG_ENOUGH and size * GROWTH <= most:
        size *= GROWTH
        seconds = _seconds(world, device, call, size)
    return Rate(latency, size * sent / max(seconds - latency, 0.1 * seconds))


def _seconds(world: World, device: torch.device, call: Callable[[Tensor], object], size: int) -> float:
    """Collective: the median over rounds of the slowest rank's seconds; equal on every rank."""
    values = torch.zeros(size // 4, device=device)
    times = []
    for _ in range(ROUNDS):
        world.barrier()
        began = time.perf_counter()
        call(values)
        synchronize(device)
        own = round((time.perf_counter() - began) * 1e9)
        times.append(int(world.gather_integers([own]).max()) / 1e9)
        if sum(times) > ROUNDS * LONG_ENOUGH:  # on all ranks together: they have the same times
            break
    return statistics.median(times)
