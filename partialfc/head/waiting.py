"""The gradients of batches that wait for the row optimizer's step."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from torch import Tensor

from partialfc.head.gradient import BatchGradient, row_gradients, union_of_rows
from partialfc.head.rows import Chunk, Rows

Version = tuple[int, int]


class WaitingGradients:
    """Those of the batches since the last step, and which centres they are of."""

    def __init__(self) -> None:
        self._gradients: list[BatchGradient] = []
        self.since: Version = (0, 0)  # the version of the centres that they were taken with

    def __bool__(self) -> bool:
        return bool(self._gradients)

    def add(self, gradient: BatchGradient, version: Version) -> None:
        """One more, of centres of this version."""
        if not self._gradients:
            self.since = version
        self._gradients.append(gradient)

    def rows(self) -> tuple[npt.NDArray[np.int64] | None, Tensor | None]:
        """The rows that have a gradient [K], None for all; and the same on the device if they are there."""
        index = self._gradients[0].batch.index if len(self._gradients) == 1 else None
        return union_of_rows(self._gradients), index

    def by_rows(self, rows: Rows, factor: Tensor | None) -> Iterator[tuple[Chunk, Tensor, Tensor | None]]:
        """See `row_gradients`."""
        yield from row_gradients(self._gradients, rows, factor)

    def kept_bytes(self) -> int:
        """The memory of the exponentials that they keep."""
        return sum(gradient.kept.values.nbytes for gradient in self._gradients)

    def clear(self) -> None:
        """Drop them, and the exponentials that they keep."""
        for gradient in self._gradients:
            gradient.kept.release()
        self._gradients.clear()
