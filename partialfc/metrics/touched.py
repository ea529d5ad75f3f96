"""Which rows of a shard took part in the last steps."""

import numpy as np
import numpy.typing as npt


class Touched:
    """Keeps for each of C_l rows the last step in which it took part: 4 bytes a row, O(K) time a step."""

    def __init__(self, num_rows: int, *, window: int) -> None:
        self._num_rows = num_rows
        self._window = window
        self._last: npt.NDArray[np.int32] | None = None  # made in the first step that samples rows
        self._all = -1  # the last step in which every row took part

    def add(self, step: int, rows: npt.NDArray[np.int64] | None) -> None:
        """rows [K] took part in `step`, or all rows where it is None; the first step is 1."""
        if rows is None:
            self._all = step
            return
        if self._last is None:
            self._last = np.zeros(self._num_rows, np.int32)
        self._last[rows] = step

    def ratio(self, step: int) -> float:
        """The share of rows that took part in any of the `window` steps up to `step`; O(C_l) time."""
        first = max(step - self._window + 1, 1)
        if self._all >= first or self._num_rows == 0:
            return 1.0
        return 0.0 if self._last is None else float(np.count_nonzero(self._last >= first)) / self._num_rows
