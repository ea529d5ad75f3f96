"""Signals that ask a run to stop: noted, so that the loop stops after the step that it is in."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from partialfc.data.loading.worker_processes import STOP_SIGNALS


class StopSignal:
    """`number` is that of the signal that came within `caught`, 0 before one came.

    SIGTERM, SIGINT (Ctrl-C), or SIGHUP (a terminal that is closed or lost); that last one only where the
    process does not ignore it, as under nohup. A SIGINT after that ends the program at once; another signal
    after that changes nothing, because a scheduler and torchrun may both send one to the same process.
    """

    def __init__(self) -> None:
        self.number = 0

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Inside, the first signal only sets `number`."""
        wanted = [number for number in STOP_SIGNALS if not _is_ignored(number)]
        before = {number: signal.signal(number, self._take) for number in wanted}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _take(self, number: int, _: FrameType | None) -> None:
        if self.number and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number


def _is_ignored(number: int) -> bool:
    return number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN
