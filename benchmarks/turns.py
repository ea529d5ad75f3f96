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


def take_turns_or_fail(
    groups: Sequence[Group | RuntimeError], *, warmup: int, steps: int
) -> list[Timing | RuntimeError]:
    """Like `take_turns`, with the error in place of a subject that fails; it takes no more turns."""
    turns = [_Turns(group) if isinstance(group, Group) else group for group in groups]
    working = [each for each in turns if isinstance(each, _Turns)]
    for each in working:
        each.take(warmup or 1)
    for _ in range(steps):
        for each in working:
            each.take(1)
    return [each.timing(max(warmup, 1)) if isinstance(each, _Turns) else each for each in turns]


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
        try:
            return self._error or _timing(self._seconds[0], self._seconds[warmup:], self._group.facts())
        except RuntimeError as error:
            return error


def take_turns(groups: Sequence[Group], *, warmup: int, steps: int) -> list[Timing]:
    """Warm up one group after another; then let each make one step in turn, for `steps` rounds."""
    return _timed(groups, [_warm_up(group, warmup) for group in groups], steps)


def _timed(groups: Sequence[Group], first: Sequence[float], steps: int) -> list[Timing]:
    seconds = [[group.step() for group in groups] for _ in range(steps)]
    facts = [group.facts() for group in groups]
    return [
        _timing(start, list(each), about)
        for start, each, about in zip(first, zip(*seconds, strict=True), facts, strict=True)
    ]


def _timing(first: float, seconds: Sequence[float], facts: dict[str, Any]) -> Timing:
    p20, p50, p80 = np.percentile(seconds, (20, 50, 80)).tolist()
    return Timing(first, p20, p50, p80, facts)


def _warm_up(group: Group, steps: int) -> float:
    """Seconds of the first step, of at least one."""
    first = group.step()
    for _ in range(steps - 1):
        group.step()
    return first
