"""The centres' initial values: those of a class depend on no world size, number of threads, or device."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from torch import Tensor

from partialfc.distributed.accelerator import is_accelerator

BLOCK_ROWS = 1024
STANDARD_DEVIATION = 0.01  # as InsightFace starts; only the direction matters to the logits
PIECE = 32768  # numbers drawn at once: few enough to stay in cache, and for torch to start no threads
STAGING_BYTES = 16 << 20  # of host memory, at most, on the way to an accelerator; two blocks are needed


def normal_rows(
    start: int, stop: int, size: int, *, seed: int, dtype: torch.dtype, device: torch.device | None = None
) -> Tensor:
    """Classes start..stop-1 -> their centres [stop - start, size] on `device`, see `fill_normal`.

    device: None for torch's default device.
    """
    rows = torch.empty(stop - start, size, dtype=dtype, device=device)
    fill_normal(rows, start, seed=seed)
    return rows


def fill_normal(rows: Tensor, start: int, *, seed: int) -> None:
    """Draw centres [n, D] of the classes from `start` on from a normal distribution; on `meta`, none.

    The key of the random numbers is (seed, block of classes). They are drawn in float32 whatever the dtype,
    on the host whatever the device, by torch.get_num_threads() threads, and written piece by piece into the
    result. Each thread holds one piece, so the most memory ever held is hardly more than the result; on the
    way to an accelerator, of whatever number of rows, `STAGING_BYTES` of the host's.
    """
    blocks = range(start // BLOCK_ROWS, -(-(start + len(rows)) // BLOCK_ROWS))
    if rows.is_meta or rows.numel() == 0:
        return
    if is_accelerator(rows.device):
        _fill_from_host(rows, start, seed, blocks)
        return
    with ThreadPoolExecutor(torch.get_num_threads(), "initial centres") as pool:
        for _ in pool.map(partial(_fill, rows, start, seed), blocks):
            pass  # the result is in rows; asking for it raises what its thread raised


@torch.no_grad()
def _fill_from_host(rows: Tensor, start: int, seed: int, blocks: range) -> None:
    """Draw blocks into pinned buffers in turn; this thread sends each to the device as the next are drawn."""
    stop, threads = start + len(rows), torch.get_num_threads()
    fitting = max(2, STAGING_BYTES // (BLOCK_ROWS * rows.shape[1] * rows.itemsize))
    buffers = [_Pinned(rows) for _ in range(min(threads + 1, fitting, len(blocks)))]
    drawing: deque[tuple[int, int, _Pinned, Future[None]]] = deque()

    def send_oldest() -> None:
        low, high, buffer, drawn = drawing.popleft()
        drawn.result()
        buffer.send(rows[low - start : high - start])

    with ThreadPoolExecutor(max(1, len(buffers) - 1), "initial centres") as pool:
        for block in blocks:
            if len(drawing) == len(buffers):
                send_oldest()  # which frees the buffer that is next in turn
            buffer = buffers[block % len(buffers)]
            low, high = max(start, block * BLOCK_ROWS), min(stop, (block + 1) * BLOCK_ROWS)
            free = buffer.once_sent(high - low)
            drawing.append((low, high, buffer, pool.submit(_fill, free, low, seed, block)))
        while drawing:
            send_oldest()


class _Pinned:
    """Pinned host memory for a block of rows, and when its last copy to the device is done."""

    def __init__(self, like: Tensor) -> None:
        shape = (min(BLOCK_ROWS, len(like)), like.shape[1])
        self._memory = torch.empty(shape, dtype=like.dtype, device="cpu").pin_memory()
        self._sent: torch.Event | None = None

    def once_sent(self, count: int) -> Tensor:
        """Room for `count` rows. Waits until the device has read what was there."""
        if self._sent is not None:
            self._sent.synchronize()
        return self._memory[:count]

    def send(self, target: Tensor) -> None:
        """Let the device copy its first rows to `target`."""
        target.copy_(self._memory[: len(target)], non_blocking=True)
        self._sent = torch.Event(target.device)
        self._sent.record(torch.accelerator.current_stream(target.device))


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
