"""A run's log: metrics.jsonl, a record on each line, and where asked the same numbers for TensorBoard."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from partialfc.errors import MissingExtraError
from partialfc.files import write_whole

METRICS = "metrics.jsonl"


class RunLog:
    """The records of one run, which rank 0 writes; where not active, as on other ranks, nothing happens."""

    def __init__(self, run_dir: Path, *, active: bool, start_step: int, tensorboard: bool) -> None:
        self._file: TextIO | None = None
        self._tensorboard: Any = None
        if not active:
            return
        path = run_dir / METRICS
        _drop_after(path, start_step)
        self._file = path.open("a")
        if tensorboard:
            self._tensorboard = _tensorboard_writer(run_dir, start_step)

    def record(self, event: str, step: int, values: Mapping[str, Any]) -> None:
        """Write a line of metrics.jsonl: {"event", "step", "time" (Unix seconds), **values}."""
        if self._file is None:
            return
        self._file.write(json.dumps({"event": event, "step": step, "time": round(time.time(), 3), **values}))
        self._file.write("\n")
        self._file.flush()
        if self._tensorboard is not None:
            for name, value in values.items():
                if isinstance(value, float):
                    self._tensorboard.add_scalar(f"{event}/{name}", value, step)

    def close(self) -> None:
        for part in (self._tensorboard, self._file):
            if part is not None:
                part.close()


def read_metrics(run_dir: Path) -> list[dict[str, Any]]:
    """The records of a run, in order; a line that is no record, cut off by a crash, is left out."""
    records = []
    for line in (run_dir / METRICS).read_text(errors="replace").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and {"event", "step"} <= record.keys():
            records.append(record)
    return records


def _drop_after(path: Path, step: int) -> None:
    """Delete the records after `step`, at which the run is resumed: it does those steps again."""
    if not path.exists():
        return
    kept = [record for record in read_metrics(path.parent) if record["step"] <= step]
    write_whole(path, "".join(json.dumps(record) + "\n" for record in kept))


def _tensorboard_writer(run_dir: Path, start_step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError(
            "train.tensorboard needs the tensorboard extra: pip install 'partialfc[tensorboard]'"
        ) from error
    return SummaryWriter(run_dir / "tensorboard", purge_step=start_step + 1)
