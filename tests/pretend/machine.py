"""The one pretend device of a process: its log, its memory, its streams."""

from typing import Any

import torch

from tests.pretend.cache import Cache
from tests.pretend.log import Log
from tests.pretend.memory import Allocator, Memory
from tests.pretend.pinned import Pinned
from tests.pretend.streams import Order

NAME = "pretend"


class Machine:
    """All that lasts between operations.

    hollow: whether tensors have sizes and no values. Nothing is computed then, so a step of any size can be
    counted; whoever asks for a value gets 1.
    """

    def __init__(self) -> None:
        self.hollow = False
        self.index = 0  # of the current device, where a program names none
        self.log = Log()
        self.order = Order(self.log)
        self.pinned = Pinned(self.log, self.order)
        self.memory = Allocator()
        self.memory.on_free = self.order.freed
        self.cache = Cache()

    @property
    def device(self) -> torch.device:
        return torch.device(NAME, 0)

    def check_here(self, device: Any) -> None:
        """Raises RuntimeError for a device of another index, as torch does on CUDA."""
        index = None if device is None else torch.device(device).index
        if index not in (None, 0):
            raise RuntimeError(f"invalid device ordinal: {NAME} has 1 device, and {index} was asked for")

    @property
    def behind(self) -> str:
        """The device that holds the values."""
        return "meta" if self.hollow else "cpu"

    def allocate(self, size: int) -> Memory:
        return Memory(self.memory, size, self.order.current)


machine = Machine()
