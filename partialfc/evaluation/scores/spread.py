"""Embeddings that lie spread over the ranks, and how each rank gets to see all of them, block by block."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from partialfc.distributed.together import together
from partialfc.distributed.world import World
from partialfc.errors import DataError

SIDE = 2048  # rows of a block: a tile of scores has at most SIDE * SIDE numbers
Tile = Callable[[Tensor, Tensor], Tensor]  # rows [q, D] and [c, D] -> their scores [q, c]
NOBODY = -1  # the class of a distractor: nothing is of the same class, not even another distractor
LOOK = "look at that image, or at the network's weights"


@dataclass(frozen=True, eq=False)
class Block:
    """Some of all embeddings, on every rank: those of numbers start..start + q - 1.

    rows [q, D]. calibration [q, 2], tile: as those of Spread. number: of the block, among all of this size.
    """

    rows: Tensor
    calibration: Tensor | None
    start: int
    number: int
    tile: Tile | None = None

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, eq=False)
class Spread:
    """N embeddings, of which each rank has a part, rank by rank; a rank may have none.

    rows [n, D]: this rank's, of norm 1 where they are compared by the cosine. counts [W]: each rank's n.
    all_classes [N]: the class of every one, on every rank; NOBODY for a distractor. calibration [n, 2]: what
    `score_norm` needs of each of this rank's, or None where scores are not normalised. tile: how they are
    compared; None: by the cosine.
    """

    rows: Tensor
    counts: tuple[int, ...]
    all_classes: npt.NDArray[np.int64]
    world: World
    calibration: Tensor | None = None
    tile: Tile | None = None

    @staticmethod
    def of(
        rows: Tensor,
        classes: npt.NDArray[np.integer],
        world: World,
        *,
        name: Callable[[int], str] | None = None,
        tile: Tile | None = None,
    ) -> "Spread":
        """This rank's embeddings [n, D], of any norm, and their classes [n]; collective.

        Raises DataError, on every rank, for one that is not finite, or without `tile` zero, named by `name`
        (from its number on this rank); ValueError where not each embedding has its class.
        """
        if rows.ndim != 2 or classes.shape != rows.shape[:1]:
            raise ValueError(f"embeddings {tuple(rows.shape)} and classes {classes.shape}: [n, D] and [n]")
        with together(world):
            units = _units(rows, name) if tile is None else _finite(rows, name)
        counts = tuple(world.gather_integers([len(rows)])[:, 0].tolist())
        own = torch.from_numpy(np.ascontiguousarray(classes, np.int64)).to(rows.device)
        everyone = world.all_gather_rows(own, counts).cpu().numpy()
        return Spread(units, counts, everyone, world, tile=tile)

    @property
    def first(self) -> int:
        """The number of this rank's first one."""
        return sum(self.counts[: self.world.rank])

    @property
    def classes(self) -> npt.NDArray[np.int64]:
        """[n], this rank's."""
        return self.all_classes[self.first : self.first + len(self.rows)]

    def __len__(self) -> int:
        return len(self.all_classes)

    def __add__(self, other: "Spread") -> "Spread":
        """Both; each rank keeps what it has, so that the numbers change; collective."""
        if (self.calibration is None) != (other.calibration is None):
            raise ValueError("one of both is calibrated: calibrate both, or neither")
        both = Spread.of(
            torch.cat([self.rows, other.rows]),
            np.append(self.classes, other.classes),
            self.world,
            tile=self.tile,
        )
        if self.calibration is None or other.calibration is None:
            return both
        return replace(both, calibration=torch.cat([self.calibration, other.calibration]))

    def only(self, chosen: npt.NDArray[np.bool_]) -> "Spread":
        """Those of all N that are chosen [N], each where it was."""
        ends = np.cumsum(self.counts)
        counts = tuple(
            int(chosen[end - count : end].sum()) for count, end in zip(self.counts, ends, strict=True)
        )
        own = torch.from_numpy(np.flatnonzero(chosen[self.first : self.first + len(self.rows)]))
        own = own.to(self.rows.device)
        calibration = None if self.calibration is None else self.calibration[own]
        return replace(
            self,
            rows=self.rows[own],
            counts=counts,
            all_classes=self.all_classes[chosen],
            calibration=calibration,
        )

    def blocks(self, side: int = SIDE) -> Iterator[Block]:
        """All N in blocks of at most `side`, the same on every rank; collective every W blocks."""
        starts = np.cumsum((0, *self.counts))
        numbers = np.cumsum((0, *(-(-count // side) for count in self.counts)))
        for turn in range(-(-max(self.counts) // side)):
            sizes = [min(max(count - turn * side, 0), side) for count in self.counts]
            part = slice(turn * side, turn * side + sizes[self.world.rank])
            gathered = self._gathered(part, sizes)
            for rank, (rows, calibration) in enumerate(gathered):
                if len(rows):
                    start = int(starts[rank]) + turn * side
                    yield Block(rows, calibration, start, int(numbers[rank]) + turn, self.tile)

    def _gathered(self, part: slice, sizes: Sequence[int]) -> list[tuple[Tensor, Tensor | None]]:
        rows = torch.split(self.world.all_gather_rows(self.rows[part], sizes), list(sizes))
        if self.calibration is None:
            return [(each, None) for each in rows]
        calibrations = torch.split(self.world.all_gather_rows(self.calibration[part], sizes), list(sizes))
        return list(zip(rows, calibrations, strict=True))

    def own_blocks(self, side: int = SIDE) -> Iterator[Block]:
        """This rank's alone, cut as `blocks` cuts them, with the same numbers."""
        first = sum(-(-count // side) for count in self.counts[: self.world.rank])
        for number, start in enumerate(range(0, len(self.rows), side)):
            part = slice(start, start + side)
            calibration = None if self.calibration is None else self.calibration[part]
            yield Block(self.rows[part], calibration, self.first + start, first + number, self.tile)

    def room(self, columns: "Spread", side: int = SIDE) -> Tensor:
        """For the scores of a block of these with one of this rank's of `columns`."""
        return self.rows.new_empty(min(side, max(self.counts)) * min(side, len(columns.rows)))

    def block_count(self, side: int = SIDE) -> int:
        """How many blocks there are."""
        return sum(-(-count // side) for count in self.counts)

    @cached_property
    def by_class(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The classes that there are, rising [C], how many are of each [C], and each one's place [N] in its
        class, from 0; distractors are left out of the first two.
        """
        order = np.argsort(self.all_classes, kind="stable")
        values, starts, counts = np.unique(self.all_classes[order], return_index=True, return_counts=True)
        places = np.empty(len(self), np.int64)
        places[order] = np.arange(len(self)) - np.repeat(starts, counts)
        known = values != NOBODY
        return values[known], counts[known], places


def same_class(
    rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Classes [q] and [c] -> the places of a tile [q, c] where both are of the same class: row, column."""
    order = np.argsort(columns, kind="stable")
    ordered = columns[order]
    low, high = np.searchsorted(ordered, rows, "left"), np.searchsorted(ordered, rows, "right")
    counts = np.where(rows == NOBODY, 0, high - low)
    row = np.repeat(np.arange(len(rows)), counts)
    within = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    return row, order[np.repeat(low, counts) + within]


def scores_of(rows: Block, columns: Block, room: Tensor | None = None) -> Tensor:
    """The scores [q, c] of a tile: cosines, or what `tile` gives; calibrated where they are (`score_norm`).

    room [>= q * c]: where they are put. Tiles of many sizes that are made and dropped, with small tensors
    kept in between, let the memory of a process grow by more than half a gigabyte.
    """
    size = len(rows), len(columns)
    out = rows.rows.new_empty(size) if room is None else room[: size[0] * size[1]].view(size)
    if rows.tile is None:
        scores = torch.mm(rows.rows, columns.rows.T, out=out)
    else:
        scores = out.copy_(rows.tile(rows.rows, columns.rows))
    if rows.calibration is not None and columns.calibration is not None:
        factor = rows.calibration[:, None, 0] + columns.calibration[None, :, 0]
        scores.mul_(factor).sub_(rows.calibration[:, None, 1] + columns.calibration[None, :, 1])
    return scores


def _finite(rows: Tensor, name: Callable[[int], str] | None) -> Tensor:
    """Rows [n, D] as they are."""
    bad = (~rows.isfinite()).any(1).nonzero().flatten().tolist()
    if bad:
        raise DataError(f"{_called(bad[0], name)} is not finite, {len(bad)} of {len(rows)} are; {LOOK}")
    return rows


def _units(rows: Tensor, name: Callable[[int], str] | None) -> Tensor:
    """Rows [n, D] divided by their norms."""
    norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    bad = ((norms == 0) | ~norms.isfinite()).flatten().nonzero().flatten().tolist()
    if bad:
        what = "zero" if norms[bad[0]] == 0 else "not finite"
        raise DataError(
            f"{_called(bad[0], name)} is {what}, {len(bad)} of {len(rows)} are unusable: a cosine needs a "
            f"direction; {LOOK}"
        )
    units: Tensor = rows / norms
    return units


def _called(number: int, name: Callable[[int], str] | None) -> str:
    return f"embedding {number}" if name is None else f"the embedding of {name(number)}"
