"""What every tracker does, and what it is told of the run."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from partialfc.errors import MissingExtraError, TrackerError


@dataclass(frozen=True)
class TrackedRun:
    """The run as trackers know it.

    name: of the run; project: of the runs that are shown together. folder: of the run. config: the whole
    config, nested. start_step: the step that training goes on from. id: what `start` gave for this run
    before, None the first time.
    """

    name: str
    project: str
    folder: Path
    config: Mapping[str, Any]
    start_step: int
    id: str | None


class KeptError(TrackerError):
    """Figures could not be sent in time, and the tracker has them on this machine, to be sent later."""


class Tracker(Protocol):
    """Holds the figures of one run. Its methods raise whatever goes wrong; no two are called at once.

    forgets: whether `start` drops what was logged after `start_step`. settles_after: seconds after which a
    kill takes nothing of what was logged.
    """

    forgets: bool
    settles_after: float

    def require(self) -> None:
        """Import what it needs. Raises MissingExtraError, and TrackerError where it lacks something else."""

    def start(self, run: TrackedRun) -> str:
        """Begin the run, or go on in that of `run.id`; gives its id there. After `require`."""

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Hold figures of a step by their names, such as train/loss."""

    def finish(self, *, failed: bool) -> None:
        """Everything was logged; failed: an error ended the run. Raises KeptError where it keeps the rest."""


def package(name: str, extra: str) -> Any:
    """The module `name`; MissingExtraError names the extra where it cannot be imported."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(needed([extra])) from error


def needed(extras: Sequence[str]) -> str:
    """What to do where these trackers are not installed."""
    what = f"pip install 'partialfc[{','.join(extras)}]'"
    return f"train.trackers: {' and '.join(extras)}: not installed: {what}"
