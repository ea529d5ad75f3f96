"""A benchmark, run by its command."""

import csv
import subprocess
from collections.abc import Mapping
from pathlib import Path

from torch._inductor.runtime.cache_dir_utils import default_cache_dir

from tests.paths import ROOT
from tests.processes import ENVIRONMENT, warm_python


def run(
    script: str, *options: object, environment: Mapping[str, str] = ENVIRONMENT, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """`python benchmarks/SCRIPT OPTIONS`."""
    environment = {"BENCHMARK_COMPILED": default_cache_dir(), **environment}
    return warm_python().run(ROOT / "benchmarks" / script, *options, env=environment, cwd=cwd or Path.cwd())


def measured(script: str, *options: str, folder: Path) -> tuple[list[dict[str, str]], str]:
    """The rows that `benchmarks/SCRIPT` writes, and what it prints."""
    output = folder / "rows.csv"
    done = run(script, *options, "--output", output)
    assert done.returncode == 0, done.stderr
    with output.open(newline="") as file:
        return list(csv.DictReader(file)), done.stdout
