"""How many of very many embeddings come before a query's mates, exact, in blocks, over the ranks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from partialfc.evaluation.scores.spread import NOBODY, SIDE, Block, Spread, same_class, scores_of

MOST = 1 << 22  # mates of a block of queries
Classes = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Ranking:
    """For Q queries, what comes before each of their mates, which are the embeddings of the same class.

    classes [Q]. mates [Q]: how many each has; 0 for a query that cannot be found. before_best [Q]: how many
    of the others come before the best mate, 0 where it comes first; -1 without mates. average_precision [Q]:
    of all mates among the others; NaN without mates. reached [Q], by each rank k that was asked for: how many
    of its mates have fewer than k of the others before them.
    """

    classes: npt.NDArray[np.int64]
    mates: npt.NDArray[np.int64]
    before_best: npt.NDArray[np.int64]
    average_precision: npt.NDArray[np.float64]
    reached: Mapping[int, npt.NDArray[np.int64]]

    @cached_property
    def found(self) -> npt.NDArray[np.bool_]:
        """[Q], the queries that have a mate."""
        return self.mates > 0

    def recall(self, k: int) -> float:
        """The share of the queries with mates whose best mate is among the first k; rank-k identification.

        Jegou et al. 2011, "Product Quantization for Nearest Neighbor Search", recall@R; Song et al. 2016,
        "Deep Metric Learning via Lifted Structured Feature Embedding", for the queries of a set in itself.
        """
        return float(self.best_within(k)[self.found].mean())

    def best_within(self, k: int) -> npt.NDArray[np.bool_]:
        """[Q]: has the query a mate, and is the best one among the first k?"""
        return self.found & (self.before_best < k)

    def mean_average_precision(self) -> float:
        """The mean of the average precision over the queries with mates.

        Philbin et al. 2007, "Object Retrieval with Large Vocabularies and Fast Spatial Matching", section
        3.1, of the whole gallery, without interpolation.
        """
        return float(self.average_precision[self.found].mean())

    def pairs_within(self, k: int) -> float:
        """Rank-k as MegaFace has it: the share of all (query, mate), each with this mate alone among the
        others, where fewer than k of the others come before the mate.

        Kemelmacher-Shlizerman et al. 2016, "The MegaFace Benchmark", section 4.
        """
        return float(self.reached[k].sum() / self.mates.sum())


def rank_mates(
    queries: Spread,
    mates: Spread,
    others: Sequence[Spread],
    *,
    ranks: Sequence[int],
    leave_one_out: bool = False,
    side: int = SIDE,
) -> Ranking:
    """How many of the others score at least as high as each mate of each query; the same on every rank.

    A query's mates are those of `mates` of its class; the others are all of `others` that are not of its
    class. leave_one_out: queries and mates are the same embeddings, and none is its own mate. What scores
    the same as a mate comes before it, so that a network that gives the same for all images finds nothing.
    Scores are computed in blocks, none is kept; each rank goes through the part of mates and others that it
    has, and sees the queries block by block. Collective.

    Raises ValueError where no query has a mate.
    """
    most = max(mates.by_class[1], default=0)
    side = max(1, min(side, MOST // max(int(most), 1)))
    parts = [
        _Part.of(block, *_ranked(queries, block, mates, others, leave_one_out, side), ranks)
        for block in queries.blocks(side)
    ]
    order = np.argsort([part.start for part in parts])
    found = [parts[place] for place in order]
    if not any(part.mates.any() for part in found):
        raise _no_mates(len(queries))
    return Ranking(
        queries.all_classes,
        np.concatenate([part.mates for part in found]),
        np.concatenate([part.before_best for part in found]),
        np.concatenate([part.average_precision for part in found]),
        {k: np.concatenate([part.reached[k] for part in found]) for k in ranks},
    )


def largest_rank(
    queries: Classes, mates: Classes, others: Sequence[Classes], *, leave_one_out: bool = False
) -> int:
    """The largest k at which rank-k says anything: the most images of other classes that a query with a mate
    meets. With a larger k every mate is among the first k, whatever the network gives.

    The classes of what `rank_mates` takes. Raises ValueError where no query has a mate, and where none meets
    an image of another class.
    """
    known, counts = np.unique(mates[mates != NOBODY], return_counts=True)
    classes = np.intersect1d(known[counts > leave_one_out], queries)
    if not len(classes):
        raise _no_mates(len(queries))
    every = np.concatenate(others)
    own = np.sort(every)
    of_class = np.searchsorted(own, classes, "right") - np.searchsorted(own, classes, "left")
    most = len(every) - int(of_class.min())
    if not most:
        raise ValueError(
            "no query meets an image of another class, so that every search succeeds, whatever the network: "
            "give images of two classes or more"
        )
    return most


def _no_mates(queries: int) -> ValueError:
    return ValueError(
        f"none of the {queries} queries has a mate, another image of its class: give classes of two "
        "images or more, or a gallery with the queries' classes"
    )


@dataclass(frozen=True, eq=False)
class _Part:
    """A ranking of the queries from number `start` on."""

    start: int
    mates: npt.NDArray[np.int64]
    before_best: npt.NDArray[np.int64]
    average_precision: npt.NDArray[np.float64]
    reached: Mapping[int, npt.NDArray[np.int64]]

    @staticmethod
    def of(block: Block, counts: Tensor, before: Tensor, ranks: Sequence[int]) -> "_Part":
        """counts [q]: of mates. before [q, m]: the others before each, the worst mate first, then zeros."""
        mates, before_each = counts.cpu().numpy(), before.cpu().numpy()
        worst_first = np.arange(before_each.shape[1])[None]
        is_mate = worst_first < mates[:, None]
        place = np.where(is_mate, mates[:, None] - worst_first, 1)  # among the mates, from 1
        precision = np.where(is_mate, place / (place + before_each), 0).sum(1)
        best = before_each[np.arange(len(mates)), np.maximum(mates - 1, 0)]
        reached = {k: (is_mate & (before_each < k)).sum(1) for k in ranks}
        with np.errstate(invalid="ignore"):
            average = np.where(mates > 0, precision, np.nan) / mates
        return _Part(block.start, mates, np.where(mates > 0, best, -1), average, reached)


def _ranked(
    queries: Spread, block: Block, mates: Spread, others: Sequence[Spread], leave_one_out: bool, side: int
) -> tuple[Tensor, Tensor]:
    """(how many mates each query has [q], the others before each of them [q, m], the worst mate first)."""
    classes = queries.all_classes[block.start : block.start + len(block)]
    scores, counts = _mates_scores(classes, block, mates, leave_one_out, side)
    if not scores.shape[1]:
        return counts, counts.new_zeros(len(block), 1)
    before = _before(classes, block, scores, others, side)
    return counts, before


def _mates_scores(
    classes: npt.NDArray[np.int64], block: Block, mates: Spread, leave_one_out: bool, side: int
) -> tuple[Tensor, Tensor]:
    """The scores [q, m] of each query's mates, rising, infinite where it has fewer; and how many it has."""
    known, sizes, places = mates.by_class
    slot = np.searchsorted(known, classes)
    has = slot < len(known)
    has[has] = known[slot[has]] == classes[has]
    size = np.zeros(len(classes), np.int64)
    size[has] = sizes[slot[has]]
    width = int(size.max(initial=0))
    filled = torch.from_numpy(np.arange(width)[None] < size[:, None]).to(block.rows.device)
    scores = block.rows.new_zeros(len(classes), width)
    for columns in mates.own_blocks(side):
        row, column = same_class(classes, mates.all_classes[columns.start : columns.start + len(columns)])
        if len(row):
            tile = scores_of(block, columns)
            own_slot = torch.from_numpy(places[columns.start + column])
            row_index, column_index = torch.from_numpy(row), torch.from_numpy(column)
            scores[row_index, own_slot] = tile[row_index, column_index]
    scores = mates.world.all_reduce_sum(scores)
    if leave_one_out:
        own = np.flatnonzero(has)
        filled[own, torch.from_numpy(places[block.start + own])] = False
    scores[~filled] = torch.inf
    return scores.sort(dim=1).values, filled.sum(1)


def _before(
    classes: npt.NDArray[np.int64], block: Block, scores: Tensor, others: Sequence[Spread], side: int
) -> Tensor:
    """How many of the others score at least as high as each mate: scores [q, m], rising -> [q, m]."""
    queries, width = scores.shape
    # [q, m + 1], by how many of the mates an other reaches or passes
    tally = torch.zeros(queries * (width + 1), dtype=torch.int64, device=scores.device)
    for tile in _tiles_of_others(classes, block, others, side):
        row, value = _at_least(tile, scores[:, 0])
        passed = _count_not_above(scores, row, value)
        tally += torch.bincount(row * (width + 1) + passed, minlength=len(tally))
    tally = others[0].world.all_reduce_sum(tally).view(queries, width + 1)
    return tally.flip(1).cumsum(1).flip(1)[:, 1:]


def _tiles_of_others(
    classes: npt.NDArray[np.int64], block: Block, others: Sequence[Spread], side: int
) -> Iterator[Tensor]:
    """Scores [q, c], minus infinity where both are of the same class."""
    for each in others:
        room = block.rows.new_empty(len(block) * min(side, len(each.rows)))
        for columns in each.own_blocks(side):
            tile = scores_of(block, columns, room)
            row, column = same_class(classes, each.all_classes[columns.start : columns.start + len(columns)])
            tile[torch.from_numpy(row), torch.from_numpy(column)] = -torch.inf
            yield tile


def _at_least(tile: Tensor, lowest: Tensor) -> tuple[Tensor, Tensor]:
    """Of scores [q, c] those that reach the lowest [q] of their row: rows and values."""
    promising = (tile.amax(1) >= lowest).nonzero().flatten()
    if len(promising) < len(tile):
        tile, lowest = tile[promising], lowest[promising]
    row, column = (tile >= lowest[:, None]).nonzero(as_tuple=True)
    return promising[row], tile[row, column]


def _count_not_above(scores: Tensor, row: Tensor, value: Tensor) -> Tensor:
    """For rows [q, m], rising, how many numbers of the row are not above the value; by bisection."""
    width = scores.shape[1]
    low, high = torch.zeros_like(row), torch.full_like(row, width)
    for _ in range(width.bit_length()):
        middle = (low + high) // 2
        # where low == high == width, `middle` is beyond the row: nothing changes there
        fits = scores[row, middle.clamp(max=width - 1)] <= value
        searching = low < high
        low = torch.where(searching & fits, middle + 1, low)
        high = torch.where(searching & ~fits, middle, high)
    return low
