"""True accept rates over all pairs of very many embeddings, exact, at false accept rates down to one pair."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import torch
from torch import Tensor

from partialfc.evaluation.scores.largest import Largest, kth_largest
from partialfc.evaluation.scores.spread import SIDE, Block, Spread, same_class, scores_of

MOST_KEPT = 1 << 25  # scores that a rank keeps at a time, 12 bytes each


@dataclass(frozen=True, eq=False)
class AllPairs:
    """What `all_pairs` found.

    genuine, impostors: how many pairs there are. tar: by FAR, the share of genuine pairs above its
    threshold, and thresholds: by FAR; None where not even one impostor pair may be accepted.
    """

    genuine: int
    impostors: int
    tar: dict[float, float | None]
    thresholds: dict[float, float | None]


def all_pairs(
    queries: Spread,
    gallery: Spread | None = None,
    *,
    fars: Sequence[float],
    side: int = SIDE,
    most_kept: int = MOST_KEPT,
) -> AllPairs:
    """TAR at each FAR over the N * M pairs of a query and one of the gallery; the same on every rank.

    gallery None: over the N (N - 1) / 2 pairs of two different queries, each counted once.

    With n impostor pairs floor(far * n) may be accepted: the threshold is the highest score that refuses all
    others, and what equals it is refused too, as in `verify`. Exact: no histogram and no sample. Scores are
    computed in blocks; of the impostors' only the floor(far * n) + 1 highest are kept, in a buffer whose
    bound rises, and the genuine ones where they are few (`most_kept`); else those are computed once more.
    Each rank computes its share of the blocks, and has at most 3 `most_kept` scores, a block of each rank
    and a tile beside its embeddings. Collective.

    Raises ValueError where there are only genuine or only impostor pairs, for a FAR outside (0, 1), and for
    one that would keep more than `most_kept` scores.
    """
    tiles = _Tiles(queries, gallery, side)
    genuine, impostors = tiles.count()
    if not genuine or not impostors:
        raise ValueError(
            f"{genuine} genuine and {impostors} impostor pairs: verification needs some of both; give two "
            "classes or more, and two images or more of one"
        )
    allowed = {far: allowed_at(far, impostors) for far in map(float, fars)}
    ranks = [count + 1 for count in allowed.values() if count]
    if max(ranks, default=0) > most_kept:
        raise ValueError(
            f"fars has {max(allowed)}: of {impostors} impostor pairs {max(ranks)} scores would be kept, and "
            f"{most_kept} may be; give none above {(most_kept - 1) / impostors:.1e}"
        )
    largest = Largest(max(ranks, default=1), queries.rows)
    keep = genuine <= most_kept
    kept = [queries.rows.new_empty(0)]
    for tile in tiles.all():
        found = tile.take_genuine()
        if keep:
            kept.append(found)
        largest.add_tile(tile.scores, tile.row, tile.column, tiles.width)
    highest, _ = largest.falling()
    bounds = kth_largest(highest, ranks, queries.world)
    scores = iter(kept) if keep else (tile.take_genuine() for tile in tiles.all(genuine_only=True))
    rates = (hits / genuine for hits in _count_above(scores, bounds, queries))
    at = dict(zip(ranks, zip(bounds, rates, strict=True), strict=True))
    return AllPairs(
        genuine=genuine,
        impostors=impostors,
        tar={far: at[count + 1][1] if count else None for far, count in allowed.items()},
        thresholds={far: at[count + 1][0] if count else None for far, count in allowed.items()},
    )


def allowed_at(far: float, impostors: int) -> int:
    """floor(far * impostors), the FAR taken as it is written in decimals; ValueError outside (0, 1)."""
    if not 0 < far < 1:
        raise ValueError(f"fars has {far}: a false accept rate must lie between 0 and 1")
    return int(Decimal(str(far)) * impostors)


@dataclass(frozen=True, eq=False)
class _Tile:
    """scores [q, c], which the methods may change, of queries and gallery from numbers row and column on."""

    scores: Tensor
    row: int
    column: int
    genuine: tuple[Tensor, Tensor]  # where both are of the same class

    def take_genuine(self) -> Tensor:
        """The genuine pairs' scores [g]; minus infinity stands in their place."""
        taken = self.scores[self.genuine]
        self.scores[self.genuine] = -torch.inf
        return taken


class _Tiles:
    """The tiles of all pairs that are this rank's: each pair is in one tile of one rank."""

    def __init__(self, queries: Spread, gallery: Spread | None, side: int) -> None:
        self._queries, self._side = queries, side
        self._gallery = queries if gallery is None else gallery
        self._within = gallery is None
        self.width = len(self._gallery)

    def count(self) -> tuple[int, int]:
        """How many genuine and how many impostor pairs there are."""
        classes, counts, _ = self._queries.by_class
        if self._within:
            genuine, total = int((counts * (counts - 1) // 2).sum()), self.width * (self.width - 1) // 2
        else:
            others, other_counts, _ = self._gallery.by_class
            _, own, other = np.intersect1d(classes, others, return_indices=True)
            genuine, total = int(counts[own] @ other_counts[other]), len(self._queries) * self.width
        return genuine, total - genuine

    def all(self, *, genuine_only: bool = False) -> Iterator[_Tile]:
        """Collective; genuine_only: those without a genuine pair are left out."""
        own = list(self._gallery.own_blocks(self._side))
        for rows in self._queries.blocks(self._side):
            for columns in own:
                if self._within and not self._is_first(rows.number, columns.number):
                    continue
                genuine = self._genuine(rows, columns)
                if genuine_only and not len(genuine[0]):
                    continue
                scores = scores_of(rows, columns)
                if self._within and rows.number == columns.number:
                    scores[torch.ones_like(scores, dtype=torch.bool).tril_()] = -torch.inf
                yield _Tile(scores, rows.start, columns.start, genuine)

    def _is_first(self, row: int, column: int) -> bool:
        """Of the tiles (row, column) and (column, row), which have the same pairs, one is; round a circle of
        all blocks the column lies at most half way behind the row, so that all ranks have as many.
        """
        blocks = self._queries.block_count(self._side)
        ahead = (column - row) % blocks
        return 2 * ahead < blocks or (2 * ahead == blocks and row < column)

    def _genuine(self, rows: Block, columns: Block) -> tuple[Tensor, Tensor]:
        row, column = same_class(
            self._queries.all_classes[rows.start : rows.start + len(rows)],
            self._gallery.all_classes[columns.start : columns.start + len(columns)],
        )
        if self._within and rows.number == columns.number:
            once = row < column
            row, column = row[once], column[once]
        device = rows.rows.device
        return torch.from_numpy(row).to(device), torch.from_numpy(column).to(device)


def _count_above(scores: Iterator[Tensor], bounds: Sequence[float], queries: Spread) -> list[int]:
    """How many of the scores of all ranks are above each bound; collective."""
    limits = torch.tensor(bounds, dtype=queries.rows.dtype, device=queries.rows.device)
    above = torch.zeros(len(bounds), dtype=torch.int64, device=limits.device)
    for each in scores:
        above += len(each) - torch.searchsorted(each.sort().values, limits, right=True)
    counts: list[int] = queries.world.all_reduce_sum(above).tolist()
    return counts
