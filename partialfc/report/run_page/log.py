"""A run's log as columns: read once from end to end, however long it is."""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from partialfc.data.parallel.progress import ShowProgress, no_progress
from partialfc.errors import DataError
from partialfc.metrics.run_log import metrics_lines
from partialfc.report.run_page.quantiles import Floats, histogram_quantiles
from partialfc.report.run_records import NUMBER, log_of, require_fields, why_none

COLUMNS = 200  # of numbers, at most; what else a line has is left out
SHARES = (0.05, 0.5, 0.95)  # the quantiles of the angles that are kept of each line
BLOCK = 4096  # histograms in memory
REPORTED = ("verification", "angles", "stage", "checkpoint", "nonfinite", "overflow")
MOST_RECORDS = 20_000  # of an event in REPORTED; of more, the first and the last


@dataclass(frozen=True, eq=False)
class Log:
    """columns: by name, of the T train records, [T] each, NaN where a record has no number there; `step` is
    one, and a phase of a step is `phase.NAME`. angles [T, 3]: the quantiles SHARES of the target angles, in
    degrees. histograms: of the target angles in the first and in the last train record. events: records of
    other kinds, in order; counts: how many there were of each.
    """

    columns: Mapping[str, Floats]
    angles: Floats
    histograms: tuple[tuple[int, list[float]], ...]
    events: Mapping[str, list[dict[str, Any]]]
    counts: Mapping[str, int]

    def column(self, name: str) -> Floats:
        """[T]; NaN where the run does not log it."""
        steps = self.columns["step"]
        found: Floats = self.columns.get(name, np.full(len(steps), np.nan))
        return found


def read_log(run_dir: Path, progress: ShowProgress = no_progress) -> Log:
    """The log of a run's folder.

    Raises DataError where the folder is no run, where a record lacks a field, and where there is no train
    record.
    """
    path = log_of(run_dir)
    columns, angles, kept = _Columns(), _Angles(), _Kept()
    size, others = path.stat().st_size, 0
    for done, record in metrics_lines(run_dir):
        require_fields(path, record)
        if record["event"] == "train":
            columns.add(record)
            angles.add(record)
        else:
            kept.add(record)
            others += 1
        if len(columns) % BLOCK == 0:
            progress("log", min(done, size), size)
    if not len(columns):
        raise DataError(why_none(path, "train", others=others))
    progress("log", size, size)
    return Log(columns.arrays(), angles.quantiles(), angles.ends(), kept.events, kept.counts)


class _Columns:
    """Numbers by name; a name that comes late is NaN before."""

    def __init__(self) -> None:
        self._values: dict[str, array[float]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, record: Mapping[str, Any]) -> None:
        for name, value in record.items():
            if type(value) in NUMBER and name != "time":
                self._put(name, value)
        phases = record.get("phase_seconds")
        if isinstance(phases, dict):
            for phase, seconds in phases.items():
                if type(seconds) in NUMBER:
                    self._put(f"phase.{phase}", seconds)
        self._count += 1

    def _put(self, name: str, value: float) -> None:
        values = self._values.get(name)
        if values is None:
            if len(self._values) >= COLUMNS:
                return
            values = self._values[name] = array("d")
        if len(values) != self._count:
            self._fill(values)
        values.append(value)

    def _fill(self, values: "array[float]") -> None:
        values.extend([np.nan] * (self._count - len(values)))

    def arrays(self) -> dict[str, Floats]:
        for values in self._values.values():
            self._fill(values)
        found = {name: np.array(values, np.float64) for name, values in self._values.items()}
        return {name: np.where(np.isfinite(each), each, np.nan) for name, each in found.items()}


class _Angles:
    """The target angles of each line, as quantiles; histograms are kept only until a block is full."""

    def __init__(self) -> None:
        self._waiting: list[list[float]] = []
        self._done: list[Floats] = []
        self._first: tuple[int, list[float]] | None = None
        self._last: tuple[int, list[float]] | None = None

    def add(self, record: Mapping[str, Any]) -> None:
        counts = [float(each) for each in record["target_angle_histogram"]]
        self._last = record["step"], counts
        self._first = self._first or self._last
        if self._waiting and len(self._waiting[0]) != len(counts):
            self._reduce()
        self._waiting.append(counts)
        if len(self._waiting) == BLOCK:
            self._reduce()

    def _reduce(self) -> None:
        counts = np.array(self._waiting, np.float64).reshape(len(self._waiting), -1)
        if counts.shape[1]:
            self._done.append(histogram_quantiles(counts, SHARES, low=0, high=180))
        else:
            self._done.append(np.full((len(counts), len(SHARES)), np.nan))
        self._waiting = []

    def quantiles(self) -> Floats:
        self._reduce() if self._waiting else None
        return np.concatenate(self._done)

    def ends(self) -> tuple[tuple[int, list[float]], ...]:
        """Of the first record and of the last; of one record one."""
        found = dict(each for each in (self._first, self._last) if each is not None)
        return tuple(found.items())


@dataclass(eq=False)
class _Kept:
    """Records of other events: of very many the first half of MOST_RECORDS, and the last."""

    events: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {name: [] for name in REPORTED})
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REPORTED, 0))

    def add(self, record: dict[str, Any]) -> None:
        event = record["event"]
        if not isinstance(event, str) or event not in self.events:
            return
        self.counts[event] += 1
        kept = self.events[event]
        if len(kept) == MOST_RECORDS:
            del kept[MOST_RECORDS // 2]
        kept.append(record)
