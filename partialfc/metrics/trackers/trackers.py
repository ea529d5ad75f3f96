"""The trackers of a run: started, told every record of the run's log, and finished together."""

import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from partialfc.errors import MissingExtraError, TrackerError
from partialfc.files import json_text, write_whole
from partialfc.metrics.trackers.mlflow import MLflow
from partialfc.metrics.trackers.sending import Sending, one_line
from partialfc.metrics.trackers.tensorboard import TensorBoard
from partialfc.metrics.trackers.tracker import TrackedRun, Tracker
from partialfc.metrics.trackers.trackio import Trackio
from partialfc.metrics.trackers.wandb import WeightsAndBiases

log = logging.getLogger(__name__)

TRACKERS: dict[str, type[Tracker]] = {
    "tensorboard": TensorBoard,
    "trackio": Trackio,
    "wandb": WeightsAndBiases,
    "mlflow": MLflow,
}
IDS = "trackers.json"  # in the run's folder: {tracker: the run's id there}


@dataclass(frozen=True)
class _Started:
    """held: the last step that the tracker has, of each kind of record."""

    sending: Sending
    held: Mapping[str, int]


class Trackers:
    """Those of one run, by name; only the rank that begins them has them, and elsewhere nothing happens."""

    def __init__(
        self,
        names: Sequence[str] = (),
        *,
        project: str = "",
        run: str = "",
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """project, run: how the runs and this one are called there; config: the whole config, nested."""
        self._names = names
        self._project = project
        self._run = run
        self._config = config or {}
        self._started: list[_Started] = []

    def begin(self, folder: Path, start_step: int, before: Sequence[Mapping[str, Any]]) -> None:
        """Start them for the run in `folder`, which goes on from `start_step`.

        before: the records of the run's log so far, those after `start_step` too.

        Raises MissingExtraError, and TrackerError where one cannot be started at the first step. Where a run
        is resumed that is only told, and it goes on without that tracker.
        """
        last = _last_steps(before)
        ids = _read_ids(folder / IDS)
        for name in self._names:
            tracker = TRACKERS[name]()
            run = TrackedRun(self._run, self._project, folder, self._config, start_step, ids.get(name))
            held = {} if tracker.forgets or run.id is None else last
            try:
                tracker.require()
                ids[name] = tracker.start(run)
            except MissingExtraError:
                raise
            except Exception as error:
                self._failed(name, error, resumed=start_step > 0)
            else:
                self._started.append(_Started(Sending(name, tracker), held))
        if self._names:
            write_whole(folder / IDS, json_text(ids) + "\n")

    def record(self, event: str, step: int, values: Mapping[str, Any]) -> None:
        """Give them a record's numbers. What they have of a step that is done again is not given twice."""
        prefix = _prefix(event, values)
        figures = dict(_figures(prefix, values))
        for started in self._started:
            if figures and step > started.held.get(prefix, -1):
                started.sending.put(step, figures)

    def close(self, *, failed: bool) -> None:
        """Finish them. failed: an error ended the run."""
        for started in self._started:
            started.sending.close(failed=failed)
        self._started = []

    @staticmethod
    def _failed(name: str, error: Exception, *, resumed: bool) -> None:
        if isinstance(error, TrackerError):
            text = str(error)
        else:
            text = f"train.trackers: {name} cannot start: {one_line(error)}"
        if not resumed:
            raise TrackerError(f"{text}; or leave {name} out of train.trackers") from error
        log.warning("%s; training goes on without it", text)


def _prefix(event: str, values: Mapping[str, Any]) -> str:
    """What stands before the names of a record's figures: each verified set has figures of its own."""
    return f"{event}/{values['set']}" if "set" in values else event


def _last_steps(records: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Of each kind of record the last step."""
    last: dict[str, int] = {}
    for record in records:
        prefix = _prefix(str(record["event"]), record)
        last[prefix] = max(record["step"], last.get(prefix, 0))
    return last


def _figures(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The finite numbers of a record, also those of mappings in it, by their names."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _figures(f"{prefix}/{name}", value)
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield f"{prefix}/{name}", float(value)


def _read_ids(path: Path) -> dict[str, str]:
    try:
        ids = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return (
        {name: text for name, text in ids.items() if isinstance(text, str)} if isinstance(ids, dict) else {}
    )
