"""How many rows a chunk has, and how many keep their exponentials."""

import torch

from partialfc.head.kernels import chunks


def test_an_earlier_micro_batch_takes_of_the_budget():
    assert chunks.kept_rows(10, 2, samples=4, size=512, itemsize=4, centre_bytes=0, taken=0) == 10
    left = chunks.LEAST_BUDGET - 5 * 16
    assert chunks.kept_rows(10, 2, samples=4, size=512, itemsize=4, centre_bytes=0, taken=left) == 4
    assert chunks.kept_rows(10, 2, samples=4, size=512, itemsize=4, centre_bytes=0, taken=1 << 40) == 0


def test_chunks_are_equal_and_fit_the_cache():
    limits = chunks.limits_of(torch.device("cpu"))
    rows = chunks.chunk_rows(100_000, samples=256, size=512, itemsize=4, limits=limits)
    assert rows % chunks.ROUND_TO == 0
    assert rows * 2 * 4 * (256 + 512) <= max(limits.cache, chunks.FEWEST_ROWS * 6144)
    assert chunks.chunk_rows(0, samples=0, size=512, itemsize=4, limits=limits) == chunks.ROUND_TO


def test_an_accelerator_has_few_chunks_as_long_as_they_are_not_huge():
    gpu = chunks.Limits(50 << 20, few=True)
    sizes = {"samples": 1024, "size": 512, "itemsize": 2, "limits": gpu}
    assert chunks.chunk_rows(1000, **sizes) == 1024
    assert -(-125_000 // chunks.chunk_rows(125_000, **sizes)) == chunks.MOST_CHUNKS
    huge = chunks.chunk_rows(12_500_000, **sizes)
    assert chunks.LARGEST_CHUNK * 0.9 < huge * 2 * 2 * (1024 + 512) <= chunks.LARGEST_CHUNK + 64 * 6144
