"""What is averaged from one log line to the next."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class Interval:
    """The losses, gradient norms and training time since the last log line.

    Time spent in `paused`, for verifications and checkpoints, does not count.
    """

    def __init__(self, first_sample: int) -> None:
        """first_sample: how many samples the run has trained on before."""
        self._first_sample = first_sample
        self._started = time.perf_counter()
        self._losses: list[Tensor] = []
        self._norms: list[Tensor] = []

    def add(self, loss: Tensor, norm: Tensor) -> None:
        """One step that was not skipped; loss and norm [] stay on their device until `means`."""
        self._losses.append(loss)
        self._norms.append(norm)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the time inside out."""
        before = time.perf_counter()
        yield
        self._started += time.perf_counter() - before

    def means(self, samples: int) -> dict[str, Any]:
        """Means over the steps, NaN where all were skipped; seconds, and images a second over all ranks.

        samples: how many the run has trained on by now.
        """
        seconds = time.perf_counter() - self._started
        return {
            "loss": _mean(self._losses),
            "gradient_norm": _mean(self._norms),
            "seconds": round(seconds, 3),
            "images_per_second": round((samples - self._first_sample) / seconds, 1),
        }


def _mean(values: list[Tensor]) -> float:
    return float(torch.stack(values).double().mean()) if values else math.nan
