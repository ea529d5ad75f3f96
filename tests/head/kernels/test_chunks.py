"""How many rows a chunk has, and how many keep their exponentials."""

import torch

from partialfc.head.kernels import chunks


def test_an_earlier_micro_batch_takes_of_the_budget():
    assert chunks.kept_rows(10, 2, samples=4, size=512, itemsize=4, centre_bytes=0, taken=0) == 10
    left = chunks.LEAST_BUDGET - 5 * 16
    assert chunks.kept_rows(10, 2, samples=4, size=512, itemsize=4, centre_bytes=0, taken=left) == 4
    assert chunks.kept_rows(10, 2, samples=4, size=512, itemsize=4, centre_bytes=0, taken=1 << 40) == 0


def test_chunks_are_equal_and_fit_the_cache():
    cache = chunks.last_level_cache(torch.device("cpu"))
    rows = chunks.chunk_rows(100_000, samples=256, size=512, itemsize=4, cache=cache)
    assert rows % chunks.ROUND_TO == 0
    assert rows * 2 * 4 * (256 + 512) <= max(cache, chunks.FEWEST_ROWS * 6144)
    assert chunks.chunk_rows(0, samples=0, size=512, itemsize=4, cache=cache) == chunks.ROUND_TO
