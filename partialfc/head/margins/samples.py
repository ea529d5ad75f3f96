"""What a margin sees of a batch's samples."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from partialfc.distributed.accelerator import on_device

DRAWS_OF_A_MARGIN = 2**32 - 1  # in the place of a block's number, see head/sampling.py


@dataclass(frozen=True, eq=False)
class Samples:
    """What a margin sees of the N valid samples of the global batch: the same on every rank, rank 0's first.

    Args:
        cos (Tensor): [N], the cosine of each sample to its own centre.
        norm (Tensor): [N], the norm of its embedding.
        centre_norm (Tensor | None): [N], the norm of its own centre; None where centres count by their
            direction alone.
        class_margin (Tensor | None): [N], the margin of its class; None for a head without `class_margins`.
        classes (numpy.ndarray | None): [N] int64, its class, on the CPU.
        prepared (Tensor | None): [N] or [q, N], what the margin's `prepare` gave, for its `negatives`.
        seed (int | None): The head's; None for samples that `normal` cannot draw for.
        step (int): How many training forwards the head had before this one; a resume goes on counting.
    """

    cos: Tensor
    norm: Tensor
    centre_norm: Tensor | None = None
    class_margin: Tensor | None = None
    classes: npt.NDArray[np.int64] | None = None
    prepared: Tensor | None = None
    seed: int | None = None
    step: int = 0

    @property
    def label(self) -> Tensor:
        """[N] int64, each sample's class, on the device of `cos`; sent there each time it is asked."""
        if self.classes is None:
            raise ValueError(
                "these samples have no label: those that negatives() sees have none, so let prepare() take "
                "what it needs of the label, and a Samples of your own needs its classes"
            )
        return on_device(torch.from_numpy(self.classes), self.cos.device)

    def normal(self) -> Tensor:
        """[N] draws of a standard normal in the dtype of `cos`.

        A function of (seed, step, place in the global batch): the same at any number of ranks, and after a
        resume.
        """
        if self.seed is None:
            raise ValueError(
                "nothing can be drawn for these samples: for those that negatives() sees, let prepare() "
                "draw, and a Samples of your own needs a seed"
            )
        key = np.random.SeedSequence((self.seed, self.step, DRAWS_OF_A_MARGIN))
        drawn = np.random.Generator(np.random.PCG64(key)).standard_normal(len(self.cos))
        return on_device(torch.from_numpy(drawn).to(self.cos.dtype), self.cos.device)
