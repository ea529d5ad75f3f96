"""The records of a run's log that a report is made from."""

from pathlib import Path
from typing import Any

from partialfc.errors import DataError, printable
from partialfc.metrics.run_log import METRICS, read_metrics

NUMBER = (int, float)
MAYBE = (*NUMBER, type(None))  # null: not finite, or too few pairs
ANGLES = ("target", "nearest_negative", "nearest_centre")  # see training/angles.py
FIELDS: dict[str, dict[str, tuple[type, ...]]] = {
    "train": {"step": (int,), "loss": MAYBE, "seconds": NUMBER, "target_angle_histogram": (list,)},
    "angles": {
        "step": (int,),
        **{f"{name}_histogram": (list,) for name in ANGLES},
        **{f"{name}_{value}": MAYBE for name in ANGLES for value in ("degrees", "smallest")},
    },
    "verification": {"step": (int,), "set": (str,), "accuracy": MAYBE, "eer": MAYBE},
}


def log_of(run_dir: Path) -> Path:
    """The log of a run's folder. Raises DataError where the folder has none."""
    path = run_dir / METRICS
    if not path.exists():
        raise DataError(f"{run_dir} is not a run: it has no {METRICS}")
    return path


def records_of(run_dir: Path, event: str, *, needed: bool = True) -> list[dict[str, Any]]:
    """Those of one kind of event, in order, of which a report shows FIELDS.

    Raises DataError where one of them lacks a field, or where there is none though some are needed.
    """
    path = log_of(run_dir)
    every = read_metrics(run_dir)
    records = [record for record in every if record["event"] == event]
    if not records and needed:
        raise DataError(why_none(path, event, others=len(every)))
    for record in records:
        require_fields(path, record)
    return records


def why_none(path: Path, event: str, *, others: int) -> str:
    """Why there is nothing to report. others: how many records of other events the log at `path` has."""
    if not others and path.stat().st_size:
        return f"{path}: no line of it is a record of a run: it is damaged, or another file"
    return f"{path} has no {event} record yet: nothing to report"


def require_fields(path: Path, record: dict[str, Any]) -> None:
    """DataError where a record of the log at `path` lacks FIELDS of its event, where it has some."""
    event = record["event"]
    if not isinstance(event, str) or event not in FIELDS:
        return
    rates = dict.fromkeys((name for name in record if name.startswith("tar@")), MAYBE)
    for name, kinds in (FIELDS[event] | rates).items():
        if name not in record or not _is(record[name], kinds):
            found = f"{printable(name)}={record.get(name)!r:.80}"
            raise DataError(
                f"{path}: a {event} record of step {record['step']} has {found}, which is not what a run "
                "writes there: delete its line"
            )


def _is(value: Any, kinds: tuple[type, ...]) -> bool:
    """Whether it is of one of the kinds; a list: of numbers."""
    if isinstance(value, list):
        return list in kinds and all(isinstance(each, NUMBER) for each in value)
    return isinstance(value, kinds)
