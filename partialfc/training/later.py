"""What the host does about a step once it has heard from the device how the step ended."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from partialfc.distributed.accelerator import is_accelerator
from partialfc.errors import DistributedError, PartialFCError


class Later:
    """Calls that belong to steps, made in the order in which they were added, until one of them fails.

    On an accelerator a step later, when the values that they read have come and nothing has to wait for them;
    on a CPU, where they are there at once, in the same step. So every rank makes them at the same place.
    """

    def __init__(self, device: torch.device) -> None:
        self._lag = 1 if is_accelerator(device) else 0
        self._calls: deque[tuple[int, Callable[[], None]]] = deque()

    def add(self, step: int, call: Callable[[], None]) -> None:
        """`call` is to be made about this step."""
        self._calls.append((step, call))

    def catch_up(self, step: int) -> None:
        """Make the calls whose values have come, now that the device has been told all of `step`."""
        self._make(step - self._lag)

    def finish(self) -> None:
        """Make all calls now. Waits for the device."""
        if self._calls:
            self._make(self._calls[-1][0])

    @contextmanager
    def finished_after_errors(self) -> Iterator[None]:
        """Inside, an error of this package, which all ranks raise together, comes after all calls.

        Unless ranks are lost: the values of a step may never come then.
        """
        try:
            yield
        except PartialFCError as error:
            if not isinstance(error, DistributedError):
                self.finish()
            raise

    def _make(self, last: int) -> None:
        try:
            while self._calls and self._calls[0][0] <= last:
                self._calls.popleft()[1]()
        except BaseException:
            self._calls.clear()
            raise
