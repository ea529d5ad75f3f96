"""When waiting deserves a warning: by its share of a step, and by how long it makes the run."""

from dataclasses import dataclass

from partialfc.doctor.check import Level

SHARE = {Level.YELLOW: 0.25, Level.RED: 0.5}
SECONDS = {Level.YELLOW: 60.0, Level.RED: 600.0}  # waited over the whole run: less than this does not matter


@dataclass(frozen=True, slots=True)
class Waiting:
    """A run of `steps` steps; each computes for `compute` seconds and waits for `waiting` seconds."""

    compute: float
    waiting: float
    steps: int

    @property
    def share(self) -> float:
        """The part of a step that is waiting, in 0..1."""
        return self.waiting / (self.compute + self.waiting)

    @property
    def lost(self) -> float:
        """Seconds of waiting in the whole run."""
        return self.waiting * self.steps

    @property
    def level(self) -> Level:
        for level in (Level.RED, Level.YELLOW):
            if self.share > SHARE[level] and self.lost > SECONDS[level]:
                return level
        return Level.GREEN

    def describe(self) -> str:
        """ "62 % of a step, so 8.1 h in place of 3.1 h"."""
        alone = self.compute * self.steps
        return f"{self.share:.0%} of a step, so {_long(alone + self.lost)} in place of {_long(alone)}"


def _long(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            value = seconds / size
            return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}"
    return f"{seconds:.1f} s"
