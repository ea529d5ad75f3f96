"""Signals that ask a run to stop: while it is built they end it, and then its loop stops after a step."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from partialfc.data.parallel.processes import STOP_SIGNALS
from partialfc.errors import tell


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
        before = {number: signal.signal(number, self._take) for number in _wanted()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _take(self, number: int, _: FrameType | None) -> None:
        if self.number and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Before the first step: inside, such a signal ends the process, which says so, with 128 + its number.

    A thread does it, as a main thread that waits for other ranks within torch runs no handler of Python's.
    """
    heard, told = socket.socketpair()
    told.setblocking(False)
    thread = threading.Thread(target=_end, args=(heard,), name="stop signals", daemon=True)
    thread.start()
    before_fd = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    before = {number: signal.signal(number, lambda *_: None) for number in _wanted()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before_fd)
        told.close()
        thread.join()
        heard.close()


def _end(heard: socket.socket) -> None:
    """End this process at the first signal to stop that is heard; return when the other side closes."""
    while number := heard.recv(1):
        if number[0] in STOP_SIGNALS:
            with suppress(OSError):  # the terminal is gone
                tell(f"stopped by {signal.Signals(number[0]).name} before the first step; nothing was saved")
            os._exit(128 + number[0])


def _wanted() -> list[signal.Signals]:
    """All but a SIGHUP that this process was told to ignore."""
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return [number for number in STOP_SIGNALS if not (number == signal.SIGHUP and ignored)]
