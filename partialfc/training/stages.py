"""What the config's `stages` make of the run's settings, as a pure function of the optimizer step."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

Value = float | None  # of a setting; None where that switches it off, as it does in the config


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """Settings that differ in the steps start..stop-1; the first step of a run is 0.

    held: by key, the value in all of these steps. ramps: by key, the values (a, b) of a line: a in step
    `start`, b in step `stop`, which is the first one after the stage.
    """

    start: int
    stop: int
    held: Mapping[str, Value]
    ramps: Mapping[str, tuple[float, float]]

    def values(self, step: int) -> dict[str, Value]:
        """Of a step within the stage."""
        done = (step - self.start) / (self.stop - self.start)
        return {**self.held, **{key: a + (b - a) * done for key, (a, b) in self.ramps.items()}}

    def describe(self) -> str:
        """What it changes, for people."""
        held = [
            f"{key} {'null' if value is None else format(value, 'g')}" for key, value in self.held.items()
        ]
        return ", ".join(held + [f"{key} from {a:g} to {b:g}" for key, (a, b) in self.ramps.items()])


class Stages:
    """All stages of a run; `stages.values(step)` are the values of every key that any of them changes.

    usual: by key, the value outside of stages. No two stages change a key in the same step.
    """

    def __init__(self, stages: Sequence[Stage], usual: Mapping[str, Value]) -> None:
        self._stages = tuple(stages)
        self._usual = {key: usual[key] for stage in stages for key in (*stage.held, *stage.ramps)}

    def __len__(self) -> int:
        return len(self._stages)

    def values(self, step: int) -> dict[str, Value]:
        """By key, in step `step`."""
        found = dict(self._usual)
        for stage in self._stages:
            if stage.start <= step < stage.stop:
                found |= stage.values(step)
        return found

    def moving(self, step: int) -> set[str]:
        """The keys that are on a line in the step."""
        stages = (each for each in self._stages if each.start <= step < each.stop)
        return {key for each in stages for key, (a, b) in each.ramps.items() if a != b}

    def active(self, step: int) -> tuple[bool, ...]:
        """For each stage, whether the step is in it."""
        return tuple(stage.start <= step < stage.stop for stage in self._stages)

    def borders(self) -> list[int]:
        """The first and the last step of every stage, and the first one after it."""
        ends = [step for each in self._stages for step in (each.start, each.stop - 1, each.stop)]
        return sorted({step for step in ends if step >= 0})

    def beginning(self, step: int) -> Iterator[tuple[int, Stage]]:
        """The stages whose first step this is, with their places in the list, from 0."""
        return (each for each in enumerate(self._stages) if each[1].start == step < each[1].stop)

    def ending(self, step: int) -> Iterator[tuple[int, Stage]]:
        """The stages whose last step was the one before, likewise."""
        return (each for each in enumerate(self._stages) if each[1].start < step == each[1].stop)
