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
    """Like `take_turns`, with the error in place of a subject whose first steps fail."""
    working: list[Group] = []
    firsts: list[float | RuntimeError] = []
    for group in groups:
        try:
            firsts.append(_warm_up(group, warmup) if isinstance(group, Group) else group)
        except RuntimeError as error:
            firsts.append(error)
        else:
            working += [group] if isinstance(group, Group) else []
    timings = iter(_timed(working, [first for first in firsts if isinstance(first, float)], steps))
    return [next(timings) if isinstance(first, float) else first for first in firsts]


def take_turns(groups: Sequence[Group], *, warmup: int, steps: int) -> list[Timing]:
    """Warm up one group after another; then let each make one step in turn, for `steps` rounds."""
    return _timed(groups, [_warm_up(group, warmup) for group in groups], steps)


def _timed(groups: Sequence[Group], first: Sequence[float], steps: int) -> list[Timing]:
    if not groups:
        return []
    seconds = [[group.step() for group in groups] for _ in range(steps)]
    facts = [group.facts() for group in groups]
    percentiles = np.percentile(seconds, (20, 50, 80), axis=0).T.tolist()
    return [
        Timing(start, p20, p50, p80, about)
        for start, (p20, p50, p80), about in zip(first, percentiles, facts, strict=True)
    ]


def _warm_up(group: Group, steps: int) -> float:
    """Seconds of the first step, of at least one."""
    first = group.step()
    for _ in range(steps - 1):
        group.step()
    return first
