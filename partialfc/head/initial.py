"""The centres' initial values: those of a class do not depend on the world size or the number of threads."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from torch import Tensor

BLOCK_ROWS = 1024
STANDARD_DEVIATION = 0.01  # as InsightFace starts; only the direction matters to the logits
PIECE = 32768  # numbers drawn at once: few enough to stay in cache, and for torch to start no threads


def normal_rows(start: int, stop: int, size: int, *, seed: int, dtype: torch.dtype) -> Tensor:
    """Classes start..stop-1 -> their centres [stop - start, size], drawn from a normal distribution.

    The key of the random numbers is (seed, block of classes). They are drawn in float32 whatever the dtype,
    by torch.get_num_threads() threads, and written piece by piece into the result. Each thread holds one
    piece, so the most memory ever held is hardly more than the result.
    """
    rows = torch.empty(stop - start, size, dtype=dtype)
    fill = partial(_fill, rows, start, seed)
    with ThreadPoolExecutor(torch.get_num_threads(), "initial centres") as pool:
        for _ in pool.map(fill, range(start // BLOCK_ROWS, -(-stop // BLOCK_ROWS))):
            pass  # the result is in rows; asking for it raises what its thread raised
    return rows


@torch.inference_mode()  # each thread needs it: rows made in this mode can only be written in it
def _fill(rows: Tensor, start: int, seed: int, block: int) -> None:
    """Draw a block of classes, and write those of them that are in `rows`, which begins at class `start`."""
    key = np.random.SeedSequence((seed, block)).generate_state(1, np.uint64)[0]
    generator = torch.Generator().manual_seed(int(key) >> 1)
    step = max(1, min(BLOCK_ROWS, PIECE // rows.shape[1]))
    values = torch.empty(step, rows.shape[1], dtype=torch.float32, device="cpu")
    stop, end = start + len(rows), (block + 1) * BLOCK_ROWS
    for first in range(block * BLOCK_ROWS, min(stop, end), step):
        values.normal_(std=STANDARD_DEVIATION, generator=generator)
        low, high = max(start, first), min(stop, end, first + step)
        if low < high:
            rows[low - start : high - start] = values[low - first : high - first]
