"""A run's log: metrics.jsonl, a record on each line, and the same numbers for the trackers."""

import json
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from partialfc.files import json_text, told, write_whole
from partialfc.metrics.trackers import Trackers

log = logging.getLogger(__name__)

METRICS = "metrics.jsonl"


class RunLog:
    """The records of one run, which rank 0 writes; before `begin`, and on other ranks, nothing happens."""

    def __init__(self, run_dir: Path, trackers: Trackers) -> None:
        self._path = run_dir / METRICS
        self._file: int | None = None
        self._torn = False  # whether the last line was cut off
        self._complained = False
        self._trackers = trackers

    def begin(self, start_step: int) -> None:
        """Open the file and start the trackers, for a run that is resumed at `start_step`.

        Raises OSError where it cannot be opened, and what trackers raise.
        """
        before = _drop_after(self._path, start_step)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        self._file = os.open(self._path, flags, 0o666)
        self._trackers.begin(self._path.parent, start_step, before)

    def record(self, event: str, step: int, values: Mapping[str, Any]) -> None:
        """Write a line of metrics.jsonl: {"event", "step", "time" (Unix seconds), **values}.

        A number that is not finite is null. A disk that is full stops no training: the first line that cannot
        be written is told in the log.
        """
        if self._file is None:
            return
        try:
            self._write({"event": event, "step": step, "time": round(time.time(), 3), **values})
        except OSError as error:
            error.filename = error.filename or str(self._path)
            if not self._complained:
                log.warning("%s; lines of the run's log are missing from here, training goes on", told(error))
            self._complained = True
        self._trackers.record(event, step, values)

    def close(self, *, failed: bool = False) -> None:
        """failed: an error ended the run."""
        self._trackers.close(failed=failed)
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write(self, record: Mapping[str, Any]) -> None:
        assert self._file is not None
        line = ("\n" if self._torn else "") + json_text(record) + "\n"
        rest = line.encode()
        while rest:
            count = os.write(self._file, rest)
            self._torn = count < len(rest)
            rest = rest[count:]


def read_metrics(run_dir: Path) -> list[dict[str, Any]]:
    """The records of a run, in order; a line that is no record, cut off by a crash, is left out.

    None stands for a number that was not finite; older versions wrote it as NaN, which JSON does not have.
    """
    return [record for _, record in metrics_lines(run_dir)]


def metrics_lines(run_dir: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The same one after another, each with how many bytes of the file came before its end."""
    done = 0
    with (run_dir / METRICS).open("rb") as file:
        for data in file:
            done += len(data)
            for line in data.decode(errors="replace").splitlines():
                try:
                    record = (_CAREFUL if _LONG.search(line) else _PLAIN).decode(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(record, dict) and "event" in record and type(record.get("step")) is int:
                    yield done, record


def _number(text: str) -> int | float:
    """An integer as JSON writes it; beyond 64 bits a float, as those of a run never are."""
    return int(text) if len(text) < 20 else float(text)


_LONG = re.compile(r"[0-9]{19}")  # what may be an integer of more than 64 bits
_PLAIN = json.JSONDecoder(parse_constant=lambda _: None)  # three times as fast
_CAREFUL = json.JSONDecoder(parse_constant=lambda _: None, parse_int=_number)


def _drop_after(path: Path, step: int) -> list[dict[str, Any]]:
    """Delete the records after `step`, at which the run is resumed: it does those steps again.

    Gives all records as they were.
    """
    if not path.exists():
        path.unlink(missing_ok=True)  # a link to a file that is not there, which would be made
        return []
    records = read_metrics(path.parent)
    kept = [record for record in records if record["step"] <= step]
    write_whole(path, "".join(json_text(record) + "\n" for record in kept))
    return records
