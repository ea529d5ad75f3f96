"""From the features of a batch to the rows of a pool: which class gets which, and how it is written."""

import numpy as np
import torch
from torch import Tensor

from partialfc.distributed.accelerator import on_device
from partialfc.head.shard import ClassShard
from partialfc.pool.recent_classes import Integers, Taken

NO_FEATURE = -1  # the turn of a class that has had no finite feature yet: the first fills all its lines


def last_of_each(labels: Integers) -> Integers:
    """labels [N] -> where each of the different ones stands last, ascending."""
    _, from_the_end = np.unique(labels[::-1], return_index=True)
    return np.sort(len(labels) - 1 - from_the_end)


def put(rows_of_pool: Tensor, turns: Tensor, taken: Taken, shard: ClassShard, features: Tensor) -> None:
    """Write the features [n, D] of n classes to the slots that they took; waits for no accelerator.

    rows_of_pool [Q_l, k, D]: this rank's, those of its shard; turns int64 [Q], equal on every rank: which of
    a class's k lines is next, or NO_FEATURE. The first feature of a class goes to all its lines, which are 0
    before. One that is not finite is left out, and takes no turn.
    """
    if not len(taken.slots):
        return
    device, per_row = features.device, rows_of_pool.shape[1]
    slots = on_device(torch.from_numpy(taken.slots), device)
    was_there = on_device(torch.from_numpy(taken.was_there), device)
    finite = features.isfinite().all(dim=1)
    turn = torch.where(was_there, turns[slots], NO_FEATURE)
    first = turn == NO_FEATURE
    turns[slots] = torch.where(finite, torch.where(first, 0, (turn + 1) % per_row), turn)
    here, rows = (on_device(torch.from_numpy(each), device) for each in shard.locate(taken.slots))
    places = torch.arange(per_row, device=device)
    written = ((first[:, None] | (turn[:, None] == places)) & finite[:, None])[here, :, None]  # [h, k, 1]
    before = torch.where(was_there[here, None, None], rows_of_pool[rows], 0.0)
    rows_of_pool[rows] = torch.where(written, features[here, None], before)
