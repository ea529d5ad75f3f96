"""A batch of all ranks, and one rank's view of it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from partialfc.head.margins.samples import Samples
from partialfc.head.weights import Share


@dataclass(frozen=True, slots=True)
class GlobalBatch:
    """The N valid samples of all ranks, rank 0's first, and which of them are this rank's."""

    labels: npt.NDArray[np.int64]  # [N] global class ids
    embeddings: Tensor  # [N, D] in the dtype of the head's arithmetic
    unit: Tensor  # [N, D] the embeddings, of norm 1
    norm: Tensor  # [N] the embeddings' norms
    share: Share  # a sample's part of the mean loss by its own weight
    counts: list[int]  # [W] how many of the N each rank has
    own: slice  # which of the N are this rank's
    valid: npt.NDArray[np.int64]  # [V] which of this rank's B samples are valid
    local_size: int  # B


@dataclass(frozen=True, slots=True)
class LocalBatch:
    """One rank's view of a batch of N: the K rows that take part, the T targets among them."""

    unit: Tensor  # [N, D] unit embeddings
    samples: Samples  # as the margin sees them
    share: Share  # a sample's part of the mean loss, its class's weight included
    rows: npt.NDArray[np.int64] | None  # [K] local rows, ascending; None: every row of the shard
    index: Tensor | None  # the same on the device
    num_rows: int  # K
    target_columns: npt.NDArray[np.int64]  # [T] where a target lies among the K rows, ascending
    target_samples: Tensor  # [T] whose target that is
    target_column: Tensor  # [N] int32, the same by sample; -1 where the target lies on another rank

    def targets_in(self, start: int, stop: int) -> Tensor:
        """The samples [t] that have their targets in columns start..stop-1."""
        low, high = np.searchsorted(self.target_columns, (start, stop))
        return self.target_samples[low:high]
