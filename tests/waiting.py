"""Waiting for what another process does: a poll with a deadline, never a fixed pause."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Found = TypeVar("Found")


def wait_for(
    look: Callable[[], Found], *, log: Path, alive: Callable[[], bool] = lambda: True, seconds: float = 240
) -> Found:
    """The first truthy value of `look`; an AssertionError that shows `log` if there is none.

    alive: whether the value can still come; the last look is after it said no.
    """
    deadline = time.monotonic() + seconds
    while True:
        last = not alive() or time.monotonic() > deadline
        if found := look():
            return found
        if last:
            shown = log.read_text(errors="replace")[-6000:] if log.exists() else "no output"
            raise AssertionError(f"waited in vain; {log} says:\n{shown}")
        time.sleep(0.1)
