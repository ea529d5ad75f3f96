"""A benchmark, run by its command."""

import csv
import subprocess
import sys
from pathlib import Path

from tests.paths import ROOT


def measured(script: str, *options: str, folder: Path) -> tuple[list[dict[str, str]], str]:
    """The rows that `benchmarks/SCRIPT` writes, and what it prints."""
    output = folder / "rows.csv"
    command = [sys.executable, ROOT / "benchmarks" / script, *options, "--output", output]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with output.open(newline="") as file:
        return list(csv.DictReader(file)), done.stdout
