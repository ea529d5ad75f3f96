"""Labels of samples that lie together by class, from few of them."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray


def runs(label: Callable[[int], int], count: int, sizes: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    """The runs (start, stop, label) of `count` samples, of which each label has one; in order.

    sizes: how long the runs are thought to be, in order. Where that is right, three labels of a run are read.
    Without `sizes` every label is, and a run is one sample.
    """
    start = 0
    for size in sizes.tolist():
        if start == count:
            return
        of_run = label(start)
        stop = _end(label, of_run, start, count, guess=start + size)
        yield start, stop, of_run
        start = stop
    for index in range(start, count):
        yield index, index + 1, label(index)


def _end(label: Callable[[int], int], of_run: int, start: int, count: int, *, guess: int) -> int:
    """Where the run that begins at `start` ends."""
    inside, outside = start, count  # the last place known to be in it; no place from `outside` on is
    probe, stride = min(guess, count) - 1, 1
    while outside - inside > 1:
        probe = min(max(probe, inside + 1), outside - 1)
        if label(probe) == of_run:
            inside = probe
        else:
            outside = probe
        if outside == count:  # no end is known yet: search on in growing strides
            probe, stride = inside + stride, 2 * stride
        else:
            probe = (inside + outside) // 2
    return outside
