"""Chunks so small that a shard of a test has several, by every way through them."""

from collections.abc import Iterator
from contextlib import contextmanager

from partialfc.head.kernels import chunks

# 11 rows a chunk, so that a shard has several; and how many bytes of exponentials are kept.
WAYS = {"kept": 1 << 20, "recomputed": 0, "the first chunks kept": 3000}


@contextmanager
def small_chunks(budget: int) -> Iterator[None]:
    before = {name: getattr(chunks, name) for name in ("FEWEST_ROWS", "MOST_ROWS", "ROUND_TO")}
    before |= {name: getattr(chunks, name) for name in ("LEAST_BUDGET", "SMALLEST_EMBEDDING_TO_KEEP")}
    before["SHARE_OF_CENTRES"] = chunks.SHARE_OF_CENTRES
    chunks.SHARE_OF_CENTRES = 1 << 40
    chunks.FEWEST_ROWS = chunks.MOST_ROWS = 11
    chunks.ROUND_TO, chunks.LEAST_BUDGET, chunks.SMALLEST_EMBEDDING_TO_KEEP = 1, budget, 1
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(chunks, name, value)
