"""Seconds by part of a step: functions replaced by others that call them and take the time."""

import functools
import time
from typing import Any


class Stopwatch:
    """The time of a part that runs inside another one counts for the inner part only."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._inside = [0.0]  # for each part that runs now: the time of the parts inside it

    def replace(self, owner: object, name: str, part: str) -> None:
        """From now on calls of `owner.name`, a function of a module or a class, count as `part`."""
        function = getattr(owner, name)
        self._seconds.setdefault(part, 0.0)

        def timed(*arguments: Any, **options: Any) -> Any:
            self._inside.append(0.0)
            started = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                took = time.perf_counter() - started
                self._seconds[part] += took - self._inside.pop()
                self._inside[-1] += took

        setattr(owner, name, functools.update_wrapper(timed, function))

    def lap(self) -> dict[str, float]:
        """The seconds of each part since the last lap."""
        seconds = dict(self._seconds)
        self._seconds = dict.fromkeys(seconds, 0.0)
        return seconds
