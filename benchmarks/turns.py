"""Subjects that take turns on the machine, so that its other load slows all of them alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from groups import Group
from table import rounded


@dataclass(frozen=True)
class Timing:
    """A subject's first step and the percentiles of those after the warm-up, in seconds; and its facts."""

    first: float
    p20: float
    p50: float
    p80: float
    facts: dict[str, Any]

    def columns(self) -> dict[str, float]:
        """What a row of results says of it, the facts aside."""
        return {
            "median_s": rounded(self.p50),
            "p20_s": rounded(self.p20),
            "p80_s": rounded(self.p80),
            "first_step_s": rounded(self.first),
        }


def take_turns(groups: Sequence[Group], *, warmup: int, steps: int) -> list[Timing]:
    """Warm up one group after another; then let each make one step in turn, for `steps` rounds."""
    timings = []
    for timing in take_turns_or_fail(groups, warmup=warmup, steps=steps):
        if isinstance(timing, RuntimeError):
            raise timing
        timings.append(timing)
    return timings


def take_turns_or_fail(
    groups: Sequence[Group | RuntimeError], *, warmup: int, steps: int
) -> list[Timing | RuntimeError]:
    """Like `take_turns`, with the error in place of a subject that fails; it takes no more turns."""
    warmup = max(warmup, 1)
    turns = [_Turns(group) if isinstance(group, Group) else group for group in groups]
    working = [each for each in turns if isinstance(each, _Turns)]
    for each in working:
        each.take(warmup)
    for _ in range(steps):
        for each in working:
            each.take(1)
    return [each.timing(warmup) if isinstance(each, _Turns) else each for each in turns]


class _Turns:
    """The steps of one subject, until one fails."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self._seconds: list[float] = []
        self._error: RuntimeError | None = None

    def take(self, steps: int) -> None:
        try:
            for _ in range(0 if self._error else steps):
                self._seconds.append(self._group.step())
        except RuntimeError as error:
            self._error = error

    def timing(self, warmup: int) -> Timing | RuntimeError:
        if self._error:
            return self._error
        try:
            facts = self._group.facts()
        except RuntimeError as error:
            return error
        p20, p50, p80 = np.percentile(self._seconds[warmup:], (20, 50, 80)).tolist()
        return Timing(self._seconds[0], p20, p50, p80, facts)
