"""Checks whether the loader is fast enough for training."""

import math
import time

from partialfc.data.loading.loader import Loader
from partialfc.doctor.check import Check, Level, green, red, yellow
from partialfc.doctor.cost import Waiting

SPARE = 1.1  # so many times the workers needed on average, because their speed varies


def loading_rate(loader: Loader, *, seconds: float) -> float:
    """Images a second that the loader gives when nothing else runs. Closes it. Raises DataError."""
    try:
        next(loader)
        began, images = time.perf_counter(), 0
        while images == 0 or time.perf_counter() - began < seconds:
            images += len(next(loader)[1])
        return images / (time.perf_counter() - began)
    finally:
        loader.close()


def judge_loading(
    rate: float, *, workers: int, batch: int, compute: float, steps: int, cores: int, ranks: int
) -> Check:
    """rate: images a second of all `workers` of a rank; batch: images of one rank in a step.

    compute: seconds that a step computes; cores: of the machine; ranks: on the machine. Without workers a
    step first decodes and then computes; with them, decoding and computing go on at the same time.
    """
    need, each = batch / compute, rate / max(workers, 1)
    decoding = batch / rate
    wait = Waiting(compute, decoding if workers == 0 else max(0.0, decoding - compute), steps)
    who = f"{workers} workers" if workers else "without workers"
    says = f"{rate:,.0f} images/s {who}, {each:,.0f} a worker; a rank takes {need:,.0f} images/s"
    if wait.level == Level.GREEN:
        return green("loading", says)
    enough = math.ceil(SPARE * need / each)
    remedy = f"set data.workers to {enough}"
    if enough * ranks > cores:
        remedy += (
            f", but those of all ranks need {enough * ranks} cores and there are {cores}: store smaller "
            "images, or decode on the GPU"
        )
    judge = red if wait.level == Level.RED else yellow
    return judge("loading", f"{says}: waiting takes {wait.describe()}", remedy)
