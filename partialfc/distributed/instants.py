"""Points in time on a device's own clock. Taking one never waits for the device.

A GPU works behind the program: a point of its time can be read once it has got there.
"""

import time

import torch

from partialfc.distributed.accelerator import is_accelerator

Instant = float | torch.Event


def instant(device: torch.device) -> Instant:
    """Now: seconds of the clock on a CPU, an event in the current stream on a GPU."""
    if not is_accelerator(device):
        return time.perf_counter()
    event = torch.Event(device, enable_timing=True)
    event.record(torch.accelerator.current_stream(device))
    return event


def passed(when: Instant) -> bool:
    """Whether the device has got there, so that the instant can be read; always so on a CPU."""
    return isinstance(when, float) or when.query()


def seconds_between(first: Instant, last: Instant) -> float:
    """From the first instant to the last, of one device that has passed both."""
    if isinstance(first, float) and isinstance(last, float):
        return last - first
    assert isinstance(first, torch.Event)
    assert isinstance(last, torch.Event)
    return float(first.elapsed_time(last)) / 1000.0
