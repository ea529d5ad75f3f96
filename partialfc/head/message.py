"""What ranks tell each other before a batch: a row of columns, and integers behind it, in one exchange."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch
from torch.distributed import ProcessGroup

from partialfc.distributed.world import World

Integers = npt.NDArray[np.int64]

# One row for each rank, whichever method of whichever head it calls.
COLUMNS = range(6)
METHOD, FAILED, COUNT, FOLLOWING, CALL, HEAD = COLUMNS  # FOLLOWING: how many integers come behind the row
INTEGER_BYTES = 8

# How many integers the last calls' largest ranks told behind the columns. All ranks learn that from the same
# exchanges, so each knows the size of the next message without asking. It is kept for the group and not for a
# head: where ranks call different heads, by mistake, their messages still have one size.
LAST_CALLS = 8
_told: "WeakKeyDictionary[ProcessGroup, deque[int]]" = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Heard:
    """What all ranks told. The integers behind the columns are whole only with `following`."""

    device: torch.device  # this rank's
    table: Integers  # [W, columns]
    begun: Integers  # [W, room]
    rest: Integers  # this rank's integers that had no room

    def following(self, world: World) -> Integers:
        """All ranks' integers, rank by rank; collective where some rank had more of them than room."""
        counts = self.table[:, FOLLOWING]
        whole, missing = self.begun, int(counts.max()) - self.begun.shape[1]
        if missing > 0:
            rest = world.gather_integers(_padded(self.rest, missing), device=self.device)
            whole = np.concatenate([whole, rest], axis=1)
        return whole[np.arange(whole.shape[1]) < counts[:, None]]


def exchange(world: World, columns: Mapping[int, int], following: Integers, device: torch.device) -> Heard:
    """This rank's columns, 0 where not given, and n integers -> what all ranks told; collective.

    A message has room for as many integers as any rank told in the last calls on this process group. device:
    this rank's, for a group that carries no CPU tensors.
    """
    row = dict.fromkeys(COLUMNS, 0) | {**columns, FOLLOWING: len(following)}
    told = deque([len(following)]) if world.group is None else _told_on(world.group)
    room = max(told, default=0)
    sent = np.concatenate([list(row.values()), _padded(following[:room], room)])
    table, begun = np.split(world.gather_integers(sent, device=device), [len(COLUMNS)], axis=1)
    told.append(int(table[:, FOLLOWING].max()))
    return Heard(device, table, begun, following[room:])


def _told_on(group: ProcessGroup) -> "deque[int]":
    return _told.setdefault(group, deque(maxlen=LAST_CALLS))


def _padded(values: Integers, count: int) -> Integers:
    """values [n] -> [count], with zeros behind them."""
    return np.concatenate([values, np.zeros(count - len(values), np.int64)])
