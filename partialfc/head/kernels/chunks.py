"""How many rows a chunk has, and how many chunks' exponentials are kept between the passes.

Both follow from measurements (benchmarks/head.py): what one kernel of a chunk writes should still be in the
last-level cache when the next one reads it, and keeping the exponentials saves one GEMM of four. To start a
kernel on an accelerator takes time too, so there chunks are few, and may be larger than the cache.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from partialfc.distributed.accelerator import is_accelerator, properties

MOST_CACHE = 0.5  # of the last-level cache; other cores and the rows that pass through need some too
FEWEST_ROWS, MOST_ROWS = 256, 16384
ROUND_TO = 64  # rows; whole tiles of the GEMMs
UNKNOWN_CACHE = 16 << 20
# On an accelerator: a step has at most so many chunks, unless they would be larger than this many bytes.
MOST_CHUNKS = 8
LARGEST_CHUNK = 96 << 20

LEAST_BUDGET = 256 << 20
SHARE_OF_CENTRES = 8
# Keeping an exponential costs a write and a read; recomputing it costs 2·D floating-point operations. At the
# rates of the floors in benchmarks/head.csv (164 and 614 GFLOP/s, copies of 18.4 GB/s) the two cost the same
# at D = 36 in float32 and 67 in bfloat16, and at a larger D where GEMMs are faster in relation to copies.
SMALLEST_EMBEDDING_TO_KEEP = 128


@dataclass(frozen=True, slots=True)
class Limits:
    """What a device asks of chunks: to fit a cache of so many bytes; to be few, even if they then do not."""

    cache: int
    few: bool


def chunk_rows(num_rows: int, *, samples: int, size: int, itemsize: int, limits: Limits) -> int:
    """Rows per chunk for K = num_rows, in chunks of equal size.

    A chunk of k holds centres and their gradient [k, D], cosines and exponentials [k, N].
    """
    per_row = 2 * itemsize * (size + samples)
    most = int(MOST_CACHE * limits.cache) // per_row
    most = min(max(most, FEWEST_ROWS), MOST_ROWS)
    if limits.few:
        most = max(most, min(-(-num_rows // MOST_CHUNKS), LARGEST_CHUNK // per_row))
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


def limits_of(device: torch.device) -> Limits:
    """Those of a device, by its last-level cache: 16 MiB where the system does not say how large it is."""
    if is_accelerator(device):
        return Limits(int(getattr(properties(device), "L2_cache_size", UNKNOWN_CACHE)), few=True)
    return Limits(_host_cache(), few=False)


@cache
def _host_cache() -> int:
    folder = Path("/sys/devices/system/cpu/cpu0/cache")
    sizes = [_bytes(path.read_text().strip()) for path in folder.glob("index*/size")]
    return max(sizes, default=UNKNOWN_CACHE)


def _bytes(text: str) -> int:
    factor = {"K": 1 << 10, "M": 1 << 20}.get(text[-1:], 1)
    return int(text.rstrip("KM")) * factor
