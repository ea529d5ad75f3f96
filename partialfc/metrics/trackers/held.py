"""What a tracker has of a run, in a file that outlives a kill."""

import json
import math
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from partialfc.files import remove


class Held:
    """The last step that a tracker is sure to have, of each kind of record: `steps`, and in the file.

    settles_after: seconds after which it is sure to have what it was given.
    """

    def __init__(self, path: Path, steps: Mapping[str, int], *, settles_after: float = 0.0) -> None:
        self._path = path
        self._after = settles_after
        self._waiting: deque[tuple[float, str, int]] = deque()
        self.steps = dict(steps)

    def add(self, kind: str, step: int) -> None:
        """It was given a record of this kind."""
        now = time.monotonic()
        self._waiting.append((now + self._after, kind, step))
        self.settle(now)

    def settle(self, now: float = math.inf) -> None:
        """What was to have settled by now has done so; without an argument, all of it has."""
        settled = dict[str, int]()
        while self._waiting and self._waiting[0][0] <= now:
            _, kind, step = self._waiting.popleft()
            settled[kind] = step
        if settled:
            self.steps |= settled
            with suppress(OSError):  # a full disk: a resumed run gives some records twice
                self.write()

    def write(self) -> None:
        """Not put on the disk, as there may be many in a second; after a power cut the file may be empty."""
        beside = self._path.with_suffix(".partial")
        try:
            beside.write_text(json.dumps(self.steps))
            beside.replace(self._path)
        finally:
            remove(beside)


def read_held(path: Path) -> dict[str, int] | None:
    """The steps of such a file; None where there is none, or nothing in it that can be read."""
    try:
        steps = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    whole = isinstance(steps, dict) and all(type(step) is int for step in steps.values())
    return steps if whole else None
