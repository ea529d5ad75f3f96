"""The `partialfc` command in processes of its own, and torchrun's."""

import atexit
import functools
import os
import subprocess
import sys
from pathlib import Path

from tests.paths import ROOT
from tests.warm import WarmProcess, WarmPython

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node")
COLD = (sys.executable, "-m")


@functools.cache
def warm_python() -> WarmPython:
    """One for the whole session, started by the first test that asks."""
    python = WarmPython()
    atexit.register(python.close)
    return python


def words(*arguments: object, ranks: int = 0) -> list[str]:
    """What follows `python -m`: a `partialfc` command, under torchrun where there are ranks."""
    launcher = [*TORCHRUN, str(ranks), "-m"] if ranks else []
    return [*launcher, "partialfc", *map(str, arguments)]


def call(
    *arguments: object, ranks: int = 0, cwd: Path = ROOT, **environment: str
) -> subprocess.CompletedProcess[str]:
    """`partialfc ARGUMENTS` to its end; with ranks, by torchrun, whose workers are new interpreters."""
    return warm_python().run(*words(*arguments, ranks=ranks), env=ENVIRONMENT | environment, cwd=cwd)


def start(
    *arguments: object, ranks: int = 0, stdout: int = subprocess.PIPE, stderr: int = 2, **environment: str
) -> WarmProcess:
    """`partialfc ARGUMENTS`, running."""
    return warm_python().start(
        *words(*arguments, ranks=ranks), env=ENVIRONMENT | environment, stdout=stdout, stderr=stderr, cwd=ROOT
    )
