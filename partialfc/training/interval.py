"""What is averaged from one log line to the next."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class Interval:
    """The losses, gradient norms and training time since the last log line.

    Time spent in `paused`, for verifications and checkpoints, does not count.
    """

    def __init__(self, first_sample: int, started: float, *, names: Sequence[str] = ()) -> None:
        """first_sample: how many samples the run has trained on before; started: when, by `perf_counter`.

        names: of the terms of the loss.
        """
        self._first_sample = first_sample
        self._started = started
        self._steps = 0
        self._loss = 0.0
        self._norm = 0.0
        self._terms = dict.fromkeys(names, 0.0)

    def add(self, loss: float, norm: float, terms: Sequence[float] = ()) -> None:
        """One step that was not skipped. terms: of the loss, by their names' order."""
        self._steps += 1
        for name, value in zip(self._terms, terms, strict=True):
            self._terms[name] += value
        self._loss += loss
        self._norm += norm

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the time inside out."""
        before = time.perf_counter()
        yield
        self._started += time.perf_counter() - before

    def means(self, samples: int, ended: float) -> dict[str, Any]:
        """Means over the steps, NaN where all were skipped; seconds, and images a second over all ranks.

        samples: how many the run has trained on at its end; ended: when that was, by `perf_counter`.
        """
        seconds = ended - self._started
        return {
            "loss": self._mean(self._loss),
            "gradient_norm": self._mean(self._norm),
            "seconds": round(seconds, 3),
            "images_per_second": round((samples - self._first_sample) / seconds, 1),
        }

    def terms(self) -> dict[str, float]:
        """The mean of each term of the loss, by name; NaN where all steps were skipped."""
        return {name: self._mean(total) for name, total in self._terms.items()}

    def _mean(self, total: float) -> float:
        return total / self._steps if self._steps else math.nan
