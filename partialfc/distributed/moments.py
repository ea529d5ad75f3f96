"""Moments on a device's own clock, which cost no waiting: on a GPU they are read once it has passed them."""

import time

import torch

Moment = float | torch.cuda.Event


def moment(device: torch.device) -> Moment:
    """Now: on a CPU the clock's seconds; on a GPU an event where its current stream is."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(device))
    return event


def passed(when: Moment) -> bool:
    """Whether the moment can be read; always so on a CPU."""
    return isinstance(when, float) or bool(when.query())  # type: ignore[no-untyped-call]


def seconds_between(first: Moment, last: Moment) -> float:
    """Between two moments of one device, both passed."""
    if isinstance(first, float) and isinstance(last, float):
        return last - first
    assert isinstance(first, torch.cuda.Event)
    assert isinstance(last, torch.cuda.Event)
    return float(first.elapsed_time(last)) / 1000.0
