"""Which centres take part in a step.

The classes are cut into blocks; how many depends on the number of classes and the sample rate, not on the
ranks. A block's sample is a pure function of (seed, step, block, labels), and a rank takes those that lie in
its shard, so any number of ranks draws the same classes. O(K) in time and memory for K participating rows,
and two blocks more: nothing here has the length of the shard.
Partial FC, An et al. 2022 (arXiv:2203.15565), section 3.3, which draws from each shard by itself.
"""

import math
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from partialfc.head.shard import ClassShard

Indices = npt.NDArray[np.int64]

# A block's sample has so many classes or up to twice as many, if all samples together have so many: enough to
# hide what a block costs by itself, few enough to be sorted in the cache.
LEAST_OF_A_BLOCK = 4096


def sample_size(num_rows: int, sample_rate: float) -> int:
    """How many of num_rows take part, if the positives are not more: round(r·num_rows), at least one."""
    return min(num_rows, max(1, round(sample_rate * num_rows)))


def sample_rows(shard: ClassShard, labels: Indices, size: int, *, seed: int, step: int) -> Indices:
    """Every positive, and negatives uniform without replacement among the others, as a shard has them.

    labels [N]: class ids of the global batch, repeats allowed; size: how many of all C classes take part.
    Each block has its part of `size`, or all of its positives if they are more.
    Returns the shard's rows among them [K], distinct and ascending.
    """
    if len(shard) == 0:
        return np.empty(0, np.int64)
    num_classes, blocks = shard.num_classes, _number_of_blocks(size)
    first, last = (_block_of(each, num_classes, blocks) for each in (shard.start, shard.stop - 1))
    edges = [block * num_classes // blocks for block in range(first, last + 2)]
    positives = np.unique(labels[(labels >= edges[0]) & (labels < edges[-1])])
    quotas = _quotas(edges, num_classes, size, _generator(seed, step, blocks))
    parts = []
    for block, (start, stop), quota in zip(range(first, last + 1), pairwise(edges), quotas, strict=True):
        own = positives[slice(*np.searchsorted(positives, (start, stop)))] - start
        sampled = _sample_block(own, stop - start, quota, _generator(seed, step, block))
        parts.append(sampled + (start - shard.start))
    # Blocks that other shards have a part of were drawn whole.
    parts[0] = parts[0][np.searchsorted(parts[0], 0) :]
    parts[-1] = parts[-1][: np.searchsorted(parts[-1], len(shard))]
    return np.concatenate(parts)


def corrections(
    shard: ClassShard, labels: Indices, rows: Indices, size: int, *, seed: int, step: int
) -> npt.NDArray[np.float64]:
    """What makes the sampled sum of a softmax unbiased: log(1 / inclusion probability) of rows [K] -> [K].

    labels, size, seed and step: those that `sample_rows` drew the rows with. 0 for positives, which are
    always in. The probability of another class is that of a draw from its block, given the block's quota.
    """
    if len(rows) == 0:
        return np.empty(0)
    num_classes, blocks = shard.num_classes, _number_of_blocks(size)
    classes, positives = rows + shard.start, np.unique(labels)
    edges = [block * num_classes // blocks for block in range(blocks + 1)]
    first, last = (_block_of(int(each), num_classes, blocks) for each in (classes[0], classes[-1]))
    edges = edges[first : last + 2]
    quotas = np.array(_quotas(edges, num_classes, size, _generator(seed, step, blocks)))
    own = np.diff(np.searchsorted(positives, edges))  # positives of each block
    drawn, others = quotas - own, np.diff(edges) - own
    of_blocks = np.log(np.maximum(others, 1)) - np.log(np.maximum(drawn, 1))
    of_rows = of_blocks[np.searchsorted(edges, classes, side="right") - 1]
    return np.where(np.isin(classes, positives), 0.0, of_rows)


def largest_correction(num_classes: int, size: int) -> float:
    """No correction exceeds it."""
    return math.log(-(-num_classes // _number_of_blocks(size)))


def _number_of_blocks(size: int) -> int:
    """A power of two: where it divides C, as many ranks, or fewer by a power of two, cut no block in two."""
    return 1 << max(0, (size // LEAST_OF_A_BLOCK).bit_length() - 1)


def _block_of(class_id: int, num_classes: int, blocks: int) -> int:
    """The block b that a class lies in; it begins at class b·C // blocks."""
    return ((class_id + 1) * blocks - 1) // num_classes


def _generator(seed: int, step: int, block: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, step, block))))


def _quotas(edges: list[int], num_classes: int, size: int, generator: np.random.Generator) -> list[int]:
    """Blocks from edge to edge -> how many classes each draws, `size` in all; the same on every rank.

    Quotas are rounded so that on average over the steps no class is likelier than another.
    """
    shift = int(generator.integers(num_classes))
    up_to = [(size * edge + shift) // num_classes for edge in edges]
    return [after - before for before, after in pairwise(up_to)]


def _sample_block(positives: Indices, num_rows: int, quota: int, generator: np.random.Generator) -> Indices:
    """A block's positives, which are distinct, and negatives up to the quota, from its rows; ascending."""
    wanted = quota - len(positives)
    if wanted <= 0:
        return positives
    negatives = sample_without_replacement(num_rows - len(positives), wanted, generator)
    return np.sort(np.concatenate([positives, _skip(negatives, positives)]))


def sample_without_replacement(population: int, size: int, generator: np.random.Generator) -> Indices:
    """A uniform `size`-subset of 0..population-1, sorted; O(size) memory for any population."""
    if 2 * size > population:  # fewer are left out than drawn, so draw those
        dropped = sample_without_replacement(population, population - size, generator)
        return _skip(np.arange(size), dropped)
    drawn = np.empty(0, np.int64)
    while len(drawn) < size:
        # So many draws with replacement bring `missing` new values on average. 4 % and 16 more make a second
        # round rare; where it is needed, the loop goes on.
        free, missing = population - len(drawn), size - len(drawn)
        draws = int(-population * np.log1p(-missing / free) * 1.04) + 16
        drawn = _sorted_distinct(np.concatenate([drawn, generator.integers(population, size=draws)]))
    # Every set of so many distinct values was equally likely to be drawn, and which of them are left out is
    # uniform too, so every set of `size` is equally likely.
    surplus = generator.choice(len(drawn), size=len(drawn) - size, replace=False, shuffle=False)
    return np.delete(drawn, surplus)


def _sorted_distinct(values: Indices) -> Indices:
    values = np.sort(values)
    keep = np.empty(len(values), np.bool_)
    keep[:1] = True
    np.not_equal(values[1:], values[:-1], out=keep[1:])
    return values[keep]


def _skip(positions: Indices, excluded: Indices) -> Indices:
    """What stands at `positions` of 0, 1, 2, ... without `excluded` (sorted, distinct); they count from 0."""
    return positions + np.searchsorted(excluded - np.arange(len(excluded)), positions, side="right")
