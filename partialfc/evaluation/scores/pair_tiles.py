"""All pairs of two sets of embeddings, or within one, as tiles of scores that are shared among the ranks."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from partialfc.evaluation.scores.spread import Block, Spread, same_class, scores_of


@dataclass(frozen=True, eq=False)
class Tile:
    """scores [q, c], which the methods may change, of queries and gallery from numbers row and column on."""

    scores: Tensor
    row: int
    column: int
    genuine: tuple[Tensor, Tensor]  # where both are of the same class

    def take_genuine(self) -> tuple[Tensor, Tensor]:
        """The genuine pairs' scores [g], in whose place stands minus infinity, and their queries' numbers."""
        taken = self.scores[self.genuine]
        self.scores[self.genuine] = -torch.inf
        return taken, self.genuine[0] + self.row


class PairTiles:
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

    def all(self, *, genuine_only: bool = False) -> Iterator[Tile]:
        """Collective; genuine_only: without those that have no genuine pair. A tile lasts until the next."""
        own = list(self._gallery.own_blocks(self._side))
        room = self._queries.room(self._gallery, self._side)
        for rows in self._queries.blocks(self._side):
            for columns in own:
                if self._within and not self._is_first(rows.number, columns.number):
                    continue
                genuine = self._genuine(rows, columns)
                if genuine_only and not len(genuine[0]):
                    continue
                scores = scores_of(rows, columns, room)
                if self._within and rows.number == columns.number:
                    scores[torch.ones_like(scores, dtype=torch.bool).tril_()] = -torch.inf
                yield Tile(scores, rows.start, columns.start, genuine)

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
