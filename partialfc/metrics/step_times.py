"""How long steps and their phases took, on average since the last log line."""

from collections.abc import Sequence
from typing import Any


class StepTimes:
    """Sums of seconds, which `means` gives and forgets. phases: those of a step, by name."""

    def __init__(self, phases: Sequence[str]) -> None:
        self._phases = tuple(phases)
        self._forget()

    def phase(self, name: str, seconds: float) -> None:
        """A phase of a step took so long; any other phase is not counted."""
        if name in self._sums:
            self._sums[name] += seconds

    def step(self, seconds: float) -> None:
        """A step took so long."""
        self._steps += 1
        self._total += seconds

    def means(self) -> dict[str, Any]:
        """For a log line: "step_seconds", and "phase_seconds" by phase, means over the steps timed since the
        last call. Nothing where none was: a GPU's are known some steps later.
        """
        if not self._steps:
            return {}
        phases = {name: round(total / self._steps, 6) for name, total in self._sums.items()}
        found = {"step_seconds": round(self._total / self._steps, 6), "phase_seconds": phases}
        self._forget()
        return found

    def _forget(self) -> None:
        self._sums = dict.fromkeys(self._phases, 0.0)
        self._total, self._steps = 0.0, 0
