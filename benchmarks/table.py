"""Rows of results: as CSV, with the machine and the versions they came from."""

import csv
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import partialfc

Row = dict[str, Any]


def surroundings() -> Row:
    """What every row ends with."""
    return {
        "machine": machine(),
        "torch": torch.__version__,
        "partialfc": partialfc.__version__,
        "commit": _commit(),
    }


def machine() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return f"{os.cpu_count()} x {line.partition(':')[2].strip()}"
    return platform.processor() or platform.machine()


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows whose columns may differ: a value that a row lacks stays empty; `surroundings` come last."""
    last = list(surroundings())
    columns = [*dict.fromkeys(name for row in rows for name in row if name not in last), *last]
    write_columns(path, rows, columns)


def write_columns(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write these columns, in their order."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def rounded(seconds: float) -> float:
    return float(f"{seconds:.4g}")


def _commit() -> str:
    """Its short name; "-dirty" where anything but the results of benchmarks has changed since."""
    git = ["git", "-C", str(Path(__file__).parent)]
    commit = subprocess.run(
        [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    if commit.returncode:
        return ""
    results = [f":(top,exclude,glob)benchmarks/{name}" for name in ("*.csv", "gpu.md")]
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", ":(top)", *results], check=False)
    return commit.stdout.strip() + ("-dirty" if changed.returncode else "")
