"""The centres' initial values: the same for every class whatever the world size."""

import numpy as np
import torch
from torch import Tensor

BLOCK_ROWS = 4096
STANDARD_DEVIATION = 0.01  # as InsightFace starts; only the direction matters to the logits


def normal_rows(start: int, stop: int, size: int, *, seed: int, dtype: torch.dtype) -> Tensor:
    """Classes start..stop-1 -> their centres [stop - start, size], normal, keyed by (seed, block of classes).

    Written block by block into storage of the final dtype, so the peak is the result and one block.
    """
    rows = torch.empty(stop - start, size, dtype=dtype)
    for block in range(start // BLOCK_ROWS, -(-stop // BLOCK_ROWS)):
        key = np.random.SeedSequence((seed, block)).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(key) >> 1)
        first = block * BLOCK_ROWS
        values = torch.empty(BLOCK_ROWS, size, dtype=torch.float32, device="cpu")
        values.normal_(std=STANDARD_DEVIATION, generator=generator)
        low, high = max(start, first), min(stop, first + BLOCK_ROWS)
        rows[low - start : high - start] = values[low - first : high - first]
    return rows
