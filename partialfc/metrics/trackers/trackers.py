"""The trackers of a run: started, told every record of the run's log, and finished together."""

import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from partialfc.errors import MissingExtraError, TrackerError
from partialfc.files import json_text, write_whole
from partialfc.metrics.trackers.held import Held, read_held
from partialfc.metrics.trackers.mlflow import MLflow
from partialfc.metrics.trackers.sending import Sending, close, one_line
from partialfc.metrics.trackers.tensorboard import TensorBoard
from partialfc.metrics.trackers.tracker import TrackedRun, Tracker, needed
from partialfc.metrics.trackers.trackio import Trackio
from partialfc.metrics.trackers.wandb import WeightsAndBiases

log = logging.getLogger(__name__)

TRACKERS: dict[str, type[Tracker]] = {
    "tensorboard": TensorBoard,
    "trackio": Trackio,
    "wandb": WeightsAndBiases,
    "mlflow": MLflow,
}
IDS = "trackers.json"  # in the run's folder: {tracker: the run's id there}, and PROJECT
PROJECT = "project"  # in which the run began: trackers would take another one for another run
OF_A_LINE = {"event", "step", "time"}  # what a line of the log has beside its figures
HELD = "trackers"  # the folder in it with a file of what each tracker has


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
        self._sending: list[Sending] = []

    def begin(self, folder: Path, start_step: int, before: Sequence[Mapping[str, Any]]) -> None:
        """Start them for the run in `folder`, which goes on from `start_step`, and give each what it lacks.

        before: the records of the run's log so far, those after `start_step` too.

        Raises MissingExtraError, and TrackerError where one cannot be started at the first step. Where a run
        is resumed that is only told, and it goes on without that tracker.
        """
        if not self._names:
            return
        ids = _read_ids(folder / IDS)
        project = ids.get(PROJECT, self._project) if ids.keys() - {PROJECT} else self._project
        ids[PROJECT] = project
        if project != self._project:
            log.warning(
                "train.tracker_project is %r, but the run began in %r: it goes on there",
                self._project,
                project,
            )
        (folder / HELD).mkdir(exist_ok=True)
        try:
            for name, tracker in self._usable(resumed=start_step > 0).items():
                run = TrackedRun(self._run, project, folder, self._config, start_step, ids.get(name))
                with _or_without(name, resumed=start_step > 0):
                    ids[name] = tracker.start(run)
                    held = _held(folder / HELD / f"{name}.json", tracker, run, before)
                    self._sending.append(Sending(name, tracker, held))
        except TrackerError:
            self.close(failed=True)  # those before it, which the next try goes on with
            raise
        finally:
            write_whole(folder / IDS, json_text(ids) + "\n")
        for record in before:
            if record["step"] <= start_step:
                self.record(record["event"], record["step"], record)

    def record(self, event: str, step: int, values: Mapping[str, Any]) -> None:
        """Give them a record's numbers. What they have of a step that is done again is not given twice."""
        kind = _kind(event, values)
        if figures := dict(_figures(kind, {name: values[name] for name in values.keys() - OF_A_LINE})):
            for sending in self._sending:
                sending.put(kind, step, figures)

    def close(self, *, failed: bool) -> None:
        """Finish them. failed: an error ended the run."""
        close(self._sending, failed=failed)
        self._sending = []

    def _usable(self, *, resumed: bool) -> dict[str, Tracker]:
        """Those that have what they need; all are asked before the first one begins a run."""
        usable, missing = dict[str, Tracker](), list[str]()
        for name in self._names:
            tracker = TRACKERS[name]()
            with _or_without(name, resumed=resumed):
                try:
                    tracker.require()
                except MissingExtraError:
                    missing.append(name)
                else:
                    usable[name] = tracker
        if missing:
            raise MissingExtraError(needed(missing))
        return usable


@contextmanager
def _or_without(name: str, *, resumed: bool) -> Iterator[None]:
    """What goes wrong inside with a tracker ends the first start; where a run is resumed it is told."""
    try:
        yield
    except Exception as error:
        if isinstance(error, TrackerError):
            text = str(error)
        else:
            text = f"train.trackers: {name} cannot start: {one_line(error)}"
        if not resumed:
            raise TrackerError(f"{text}; or leave {name} out of train.trackers") from error
        log.warning("%s; training goes on without it", text)


def _held(path: Path, tracker: Tracker, run: TrackedRun, before: Sequence[Mapping[str, Any]]) -> Held:
    """What a tracker has when it has been started; without a file of it, all that the run's log has."""
    steps = {} if run.id is None else read_held(path)
    if steps is None:
        steps = _last_steps(before)
    if tracker.forgets:
        steps = {kind: min(step, run.start_step) for kind, step in steps.items()}
    held = Held(path, steps, settles_after=tracker.settles_after)
    held.write()
    return held


def _kind(event: str, values: Mapping[str, Any]) -> str:
    """A record's, which stands before the names of its figures: each verified set has figures of its own."""
    return f"{event}/{values['set']}" if "set" in values else event


def _last_steps(records: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Of each kind of record the last step."""
    last: dict[str, int] = {}
    for record in records:
        kind = _kind(str(record["event"]), record)
        last[kind] = max(record["step"], last.get(kind, 0))
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
