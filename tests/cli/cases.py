"""Start the command as people do: in a process of its own, alone or under torchrun."""

import os
import subprocess
import sys
from pathlib import Path

from partialfc.metrics.run_log import read_metrics
from tests.paths import ROOT

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def command(*arguments: str, ranks: int = 0) -> list[str]:
    launcher = (
        ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)] if ranks else []
    )
    return [sys.executable, *launcher, "-m", "partialfc", *map(str, arguments)]


def call(*arguments: str, ranks: int = 0) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(*arguments, ranks=ranks), capture_output=True, text=True, env=ENVIRONMENT, check=False
    )


def losses(folder: Path) -> list[float]:
    return [record["loss"] for record in read_metrics(folder / "run") if record["event"] == "train"]
