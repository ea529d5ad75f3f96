"""The largest of very many values in bounded memory, and the k-th largest over all ranks."""

from collections.abc import Sequence

import torch
from torch import Tensor

from partialfc.distributed.world import World

SPARE = 1 << 20  # values that are taken in beside twice those that are kept


class Largest:
    """The `count` largest of all values that were added, each with a number that says whose it is.

    Once `count` have been seen, only what is above the smallest of them is taken: `bound`, which rises.
    Which of several equal values are kept at the bound is not said; the k-th largest value is exact, for
    every k up to `count`.
    """

    def __init__(self, count: int, like: Tensor, *, spare: int = SPARE) -> None:
        self.bound = -torch.inf
        self._count, self._spare = count, spare
        self._many = True  # of the last tile's values were taken
        self._values = [like.new_empty(0)]
        self._whose = [like.new_empty(0, dtype=torch.int64)]
        self._held = 0

    def add_tile(self, scores: Tensor, first_row: int, first_column: int, columns: int) -> None:
        """Scores [q, c] of rows and columns from these numbers on; minus infinity is never taken.

        whose: row * columns + column.
        """
        # Of which most may be taken at first: in parts, for the memory that their numbers take.
        step = max(1, self._spare // scores.shape[1]) if self._many else len(scores)
        taken = 0
        for start in range(0, len(scores), step):
            part = scores[start : start + step]
            promising = (part.amax(1) > self.bound).nonzero().flatten()
            if len(promising):
                if len(promising) < len(part):
                    part = part[promising]
                row, column = (part > self.bound).nonzero(as_tuple=True)
                whose = (promising[row] + (first_row + start)).mul_(columns).add_(column).add_(first_column)
                self._add(part[row, column], whose)
                taken += len(whose)
        self._many = taken > self._spare

    def _add(self, values: Tensor, whose: Tensor) -> None:
        self._values.append(values)
        self._whose.append(whose)
        self._held += len(values)
        if self._held > 2 * self._count + self._spare:
            self._keep()

    def _keep(self) -> None:
        values, whose = torch.cat(self._values), torch.cat(self._whose)
        self._values, self._whose = [], []
        if len(values) > self._count:
            values, kept = values.topk(self._count, sorted=False)
            whose = whose[kept]
        if len(values) == self._count:
            self.bound = float(values.min())
        self._values, self._whose, self._held = [values], [whose], len(values)

    def falling(self) -> tuple[Tensor, Tensor]:
        """What is kept, the largest first: values and whose, each [at most count]."""
        self._keep()
        values, order = self._values[0].sort(descending=True)
        return values, self._whose[0][order]


def kth_largest(values: Tensor, ks: Sequence[int], world: World) -> list[float]:
    """values [n] of each rank -> over all of them the k-th largest for each k, from 1; collective.

    Found by bisection on the order of floats, in as many steps as they have bits: no values are exchanged.
    """
    bits = 8 * values.element_size()
    keys = _to_keys(values).sort().values
    low, high = [-(1 << bits - 1)] * len(ks), [(1 << bits - 1) - 1] * len(ks)
    for _ in range(bits):
        middle = [a + (b - a + 1) // 2 for a, b in zip(low, high, strict=True)]
        smaller = torch.searchsorted(keys, torch.tensor(middle, dtype=torch.int64, device=keys.device))
        for place, reached in enumerate(world.all_reduce_sum(len(keys) - smaller).tolist()):
            if reached >= ks[place]:
                low[place] = middle[place]
            else:
                high[place] = middle[place] - 1
    found: list[float] = _to_values(torch.tensor(low, dtype=torch.int64), values.dtype).tolist()
    return found


_INTEGERS = {torch.float32: torch.int32, torch.float64: torch.int64}


def _to_keys(values: Tensor) -> Tensor:
    """Floats -> int64 in the same order: the bits of a negative one but the sign are turned round."""
    keys = values.view(_INTEGERS[values.dtype]).long()
    return torch.where(keys < 0, keys ^ _all_but_the_sign(values.dtype), keys)


def _to_values(keys: Tensor, dtype: torch.dtype) -> Tensor:
    """Back again."""
    bits = torch.where(keys < 0, keys ^ _all_but_the_sign(dtype), keys)
    return bits.to(_INTEGERS[dtype]).view(dtype)


def _all_but_the_sign(dtype: torch.dtype) -> int:
    return (1 << torch.finfo(dtype).bits - 1) - 1
