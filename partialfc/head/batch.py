"""A batch of all ranks as one rank sees it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor


@dataclass(frozen=True, slots=True)
class LocalBatch:
    """One rank's view of a gathered batch of N: the K rows that take part, the T targets among them."""

    unit: Tensor  # [N, D] unit embeddings
    target_cos: Tensor  # [N]
    rows: npt.NDArray[np.int64] | None  # [K] local rows, ascending; None: every row of the shard
    num_rows: int  # K
    target_columns: npt.NDArray[np.int64]  # [T] where a target lies among the K rows, ascending
    target_samples: Tensor  # [T] whose target that is
    target_column: Tensor  # [N] int32, the same by sample; -1 where the target lies on another rank

    def targets_in(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """The targets in columns start..stop-1: columns [t], counted from start, and their samples [t]."""
        low, high = np.searchsorted(self.target_columns, (start, stop))
        samples = self.target_samples[low:high]
        return self.target_column[samples].long() - start, samples
