"""How many images a call of the model takes at most, where nobody said so: measured at the start."""

import time
from collections.abc import Callable

import numpy as np

from partialfc.serving.model import Model

SECONDS = 1.0  # that measuring may take, about
TURNS = 3  # of which the fastest counts
WORSE = 1.1  # from which a size is too large: an image takes so much more time than in the best one

Clock = Callable[[], float]


def measured_batch(model: Model, *, most: int, clock: Clock) -> int:
    """A power of two up to `most`; of a model so slow that SECONDS are not enough, a small one.

    Larger calls take less time an image, up to the size whose values a processor's caches no longer hold.
    clock: whose time counts. That of this process does not run while others have the processor, but while an
    accelerator works. The model has been called before, as its first call takes longer.

    Raises what `Model.embed` raises.
    """
    shape = (most, model.image_size, model.image_size, model.channels)
    pixels = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
    end = time.perf_counter() + SECONDS

    def seconds(size: int) -> float | None:
        """Of an image in a call of this size; None where there is no time to find out."""
        began = time.perf_counter()
        if size > 1 and began > end:
            return None
        model.embed(pixels[:size])  # the first call of a size takes longer
        now = time.perf_counter()
        if size > 1 and 2 * now - began > end:
            return None
        found = []
        for _ in range(TURNS):
            started = clock()
            model.embed(pixels[:size])
            found.append(clock() - started)
            if time.perf_counter() > end:
                break
        return min(found) / size

    return largest_good(seconds, most=most)


def largest_good(seconds: Callable[[int], float | None], *, most: int) -> int:
    """The largest power of two up to `most` before an image takes WORSE times the seconds of the best, or is
    not measured.
    """
    size, best = 1, seconds(1)
    assert best is not None
    while 2 * size <= most:
        next_one = seconds(2 * size)
        if next_one is None or next_one > WORSE * best:
            break
        size, best = 2 * size, min(best, next_one)
    return size
