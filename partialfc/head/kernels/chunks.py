"""How many rows a chunk has, and how many chunks' exponentials are kept between the passes.

Both follow from measurements (benchmarks/head.py): what one kernel of a chunk writes should still be in the
last-level cache when the next one reads it, and keeping the exponentials saves one GEMM of four.
"""

from functools import cache
from pathlib import Path

import torch

MOST_CACHE = 0.5  # of the last-level cache; other cores and the rows that pass through need some too
FEWEST_ROWS, MOST_ROWS = 256, 16384
ROUND_TO = 64  # rows; whole tiles of the GEMMs
UNKNOWN_CACHE = 16 << 20

LEAST_BUDGET = 256 << 20
SHARE_OF_CENTRES = 8
# Keeping an exponential costs a write and a read; recomputing it costs 2·D floating-point operations. At the
# rates of the floors in benchmarks/head.csv (164 and 614 GFLOP/s, copies of 18.4 GB/s) the two cost the same
# at D = 36 in float32 and 67 in bfloat16, and at a larger D where GEMMs are faster in relation to copies.
SMALLEST_EMBEDDING_TO_KEEP = 128


def chunk_rows(num_rows: int, *, samples: int, size: int, itemsize: int, cache: int) -> int:
    """Rows per chunk for K = num_rows: chunks of equal size that fit a cache of `cache` bytes.

    A chunk of k holds centres and their gradient [k, D], cosines and exponentials [k, N].
    """
    per_row = 2 * itemsize * (size + samples)
    most = int(MOST_CACHE * cache) // per_row
    most = min(max(most, FEWEST_ROWS), MOST_ROWS)
    chunks = max(1, -(-num_rows // most))
    rows = -(-max(num_rows, 1) // chunks)
    return -(-rows // ROUND_TO) * ROUND_TO


def kept_rows(
    num_rows: int,
    per_chunk: int,
    *,
    samples: int,
    size: int,
    itemsize: int,
    centre_bytes: int,
    taken: int = 0,
) -> int:
    """How many of K rows keep their exponentials [., N] until pass 2; the others recompute them.

    As many chunks of `per_chunk` rows as fit the budget: an eighth of the bytes of the shard's centres, at
    least 256 MiB, minus the bytes that earlier batches have `taken`. None for embeddings so small that
    recomputing is cheaper.
    """
    if size < SMALLEST_EMBEDDING_TO_KEEP:
        return 0
    budget = max(LEAST_BUDGET, centre_bytes // SHARE_OF_CENTRES) - taken
    rows = max(0, budget) // max(1, samples * itemsize)
    return num_rows if rows >= num_rows else rows - rows % per_chunk


def last_level_cache(device: torch.device) -> int:
    """The size of the device's last-level cache in bytes; 16 MiB where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).L2_cache_size)
    return _host_cache()


@cache
def _host_cache() -> int:
    folder = Path("/sys/devices/system/cpu/cpu0/cache")
    sizes = [_bytes(path.read_text().strip()) for path in folder.glob("index*/size")]
    return max(sizes, default=UNKNOWN_CACHE)


def _bytes(text: str) -> int:
    factor = {"K": 1 << 10, "M": 1 << 20}.get(text[-1:], 1)
    return int(text.rstrip("KM")) * factor
