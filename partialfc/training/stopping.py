"""Signals that ask a run to end, held until the loop can end well."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignal:
    """The SIGTERM or Ctrl-C that came while `caught`; a Ctrl-C after it does not wait.

    A further SIGTERM changes nothing: schedulers and torchrun both send it, to the same process.
    """

    def __init__(self) -> None:
        self.number = 0

    @contextmanager
    def caught(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._take) for number in STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _take(self, number: int, _: FrameType | None) -> None:
        if self.number and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number
