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
    first = [_warm_up(group, warmup) for group in groups]
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
