"""A few lines on what a run reached and where its files are."""

from pathlib import Path
from typing import Any

import numpy as np

from partialfc.errors import printable
from partialfc.metrics.run_log import METRICS
from partialfc.report.run_page.log import Log


def summarise(run_dir: Path, log: Log) -> str:
    """Each set's first and last verification side by side, the training time, the latest checkpoint.

    log: what `read_log` gave of the run.
    """
    lines = []
    results = log.events["verification"]
    for name in dict.fromkeys(record["set"] for record in results):
        of_set = [record for record in results if record["set"] == name]
        ends = [of_set[0], of_set[-1]] if len(of_set) > 1 else of_set
        lines.append(f"{printable(name):<16}{''.join(f'{_when(each):>16}' for each in ends)}")
        lines += [
            f"{printable(key):<16}{''.join(f'{_percent(each.get(key)):>16}' for each in ends)}"
            for key in ends[0]
            if key in ("accuracy", "eer") or key.startswith("tar@")
        ]
    seconds = np.nansum(log.column("seconds"))
    lines.append(f"{'training time':<16}{seconds:>12.0f} s")
    checkpoints = run_dir / "checkpoints"
    if (checkpoints / "latest").exists():
        latest = (checkpoints / "latest").read_text(errors="replace").strip()
        lines.append(f"{'checkpoint':<16}{checkpoints / printable(latest)}")
    lines.append(f"{'metrics':<16}{run_dir / METRICS}")
    return "\n".join(lines)


def _when(record: dict[str, Any]) -> str:
    return f"step {record['step']}" if record["step"] else "before training"


def _percent(share: float | None) -> str:
    return "too few pairs" if share is None else f"{share:.2%}"
