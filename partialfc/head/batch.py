"""A batch of all ranks, and one rank's view of it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from partialfc.distributed.accelerator import on_device
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

    def of_all_samples(self, own: Tensor) -> Tensor:
        """A row for each of this rank's valid samples [V, D] -> for each of its B, 0 for the others."""
        if len(own) == self.local_size:
            return own
        everything = own.new_zeros(self.local_size, own.shape[1])
        everything[on_device(torch.from_numpy(self.valid), own.device)] = own
        return everything


@dataclass(frozen=True, slots=True)
class LocalBatch:
    """One rank's view of a batch of N: the K classes that take part, the T targets among them.

    A class has S centres (S = 1 but for sub-centres), and the products see K·S lines, a class's together.
    """

    unit: Tensor  # [N, D] unit embeddings
    samples: Samples  # as the margin sees them
    share: Share  # a sample's part of the mean loss, its class's weight included
    rows: npt.NDArray[np.int64] | None  # [K] local rows, ascending; None: every row of the shard
    index: Tensor | None  # the same on the device
    num_rows: int  # K
    target_columns: npt.NDArray[np.int64]  # [T] where a target lies among the K rows, ascending
    target_samples: Tensor  # [T] whose target that is
    target_column: Tensor  # [N] int32, the same by sample; -1 where the target lies on another rank
    target_line: Tensor  # [N] int32, the line of the target's nearest centre
    per_class: int = 1  # S
    offsets: Tensor | None = None  # [K] what is added to each class's logits; None: 0
    offset_bound: float = 0.0  # no offset exceeds it, on any rank; infinity where that is not known
    target_offset: Tensor | None = None  # [N] what is added to the target's logit

    def lines(self, start: int, stop: int) -> slice:
        """The lines of columns start..stop-1."""
        return slice(start * self.per_class, stop * self.per_class)

    def offsets_of(self, start: int, count: int) -> Tensor | None:
        """The offsets of so many columns from `start` on."""
        return None if self.offsets is None else self.offsets[start : start + count]

    def targets_between(self, start: int, stop: int) -> slice:
        """Which of the T targets lie in columns start..stop-1."""
        return slice(*np.searchsorted(self.target_columns, (start, stop)).tolist())

    def targets_in(self, start: int, stop: int) -> Tensor:
        """The samples [t] that have their targets in columns start..stop-1."""
        return self.target_samples[self.targets_between(start, stop)]
