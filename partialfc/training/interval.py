"""Sums from one log line to the next."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class Interval:
    """Losses, gradient norms and their time, to which verification and checkpoints do not count."""

    def __init__(self, first_sample: int) -> None:
        self._first_sample = first_sample
        self._started = time.perf_counter()
        self._losses: list[Tensor] = []
        self._norms: list[Tensor] = []

    def add(self, loss: Tensor, norm: Tensor) -> None:
        """One good step; the tensors stay on their device until `summary`."""
        self._losses.append(loss)
        self._norms.append(norm)

    @contextmanager
    def paused(self) -> Iterator[None]:
        before = time.perf_counter()
        yield
        self._started += time.perf_counter() - before

    def summary(self, samples: int) -> dict[str, Any]:
        """Means over the interval, NaN where every step was skipped."""
        seconds = time.perf_counter() - self._started
        return {
            "loss": _mean(self._losses),
            "gradient_norm": _mean(self._norms),
            "seconds": round(seconds, 3),
            "images_per_second": round((samples - self._first_sample) / seconds, 1),
        }


def _mean(values: list[Tensor]) -> float:
    return float(torch.stack(values).double().mean()) if values else math.nan
