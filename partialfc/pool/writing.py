"""From the features of a batch to the rows of a pool: which line each goes to, and how it is written."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from partialfc.distributed.accelerator import on_device
from partialfc.head.shard import ClassShard
from partialfc.pool.recent_classes import Integers, Taken


@dataclass(frozen=True, slots=True)
class Lines:
    """The m lines of a rank's features that a batch writes: each takes one of the batch's features."""

    lines: Integers  # [m]
    sources: Integers  # [m] which of the N features of the batch
    has_one: npt.NDArray[np.bool_]  # [m] whether the line holds a feature of the same class already


def last_of_each(labels: Integers) -> Integers:
    """labels [N] -> where each of the different ones stands last, ascending."""
    _, from_the_end = np.unique(labels[::-1], return_index=True)
    return np.sort(len(labels) - 1 - from_the_end)


def lines_to_write(
    taken: Taken, turns: Integers, shard: ClassShard, sources: Integers, *, per_row: int
) -> Lines:
    """Slots taken by n classes, and the features [n] that they get -> the lines of this rank's shard.

    turns [Q] is changed: the one of a class's `per_row` lines that is next. A class that comes anew gets its
    feature in all of them.
    """
    place = turns[taken.slots]
    turns[taken.slots] = np.where(taken.was_there, (place + 1) % per_row, 0)
    places = np.arange(per_row)
    here, rows = shard.locate(taken.slots)
    is_written = ~taken.was_there[here, None] | (place[here, None] == places)  # [n, per_row]
    at, which = np.nonzero(is_written)
    return Lines(rows[at] * per_row + which, sources[here[at]], taken.was_there[here[at]])


def put(lines_of_pool: Tensor, lines: Lines, features: Tensor) -> None:
    """Write the batch's features [N, D]; one that is not finite is left out, and is 0 in a class's first."""
    if not len(lines.lines):
        return
    device = features.device
    index = on_device(torch.from_numpy(lines.lines), device)
    new = features[on_device(torch.from_numpy(lines.sources), device)]
    has_one = on_device(torch.from_numpy(lines.has_one), device)[:, None]
    before = torch.where(has_one, lines_of_pool[index], 0.0)
    lines_of_pool[index] = torch.where(new.isfinite().all(dim=1, keepdim=True), new, before)
