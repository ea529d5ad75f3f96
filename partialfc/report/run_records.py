"""The records of a run's log that a report is made from."""

from pathlib import Path
from typing import Any

from partialfc.errors import DataError
from partialfc.metrics.run_log import METRICS, read_metrics


def records_of(run_dir: Path, event: str) -> list[dict[str, Any]]:
    """Those of one kind of event, in order. Raises DataError where there is none."""
    if not (run_dir / METRICS).exists():
        raise DataError(f"{run_dir} is not a run: it has no {METRICS}")
    records = [record for record in read_metrics(run_dir) if record["event"] == event]
    if not records:
        raise DataError(f"{run_dir / METRICS} has no {event} record yet: nothing to report")
    return records
