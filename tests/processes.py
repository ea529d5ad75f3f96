"""The `partialfc` command in a process of its own, alone or under torchrun."""

import atexit
import functools
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.paths import ROOT
from tests.warm import WarmProcess, WarmPython

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


@functools.cache
def warm_python() -> WarmPython:
    """One for the whole session, started by the first test that asks."""
    python = WarmPython()
    atexit.register(python.close)
    return python


def call(
    *arguments: object,
    ranks: int = 0,
    torchrun: Sequence[object] = (),
    cwd: Path = ROOT,
    environment: dict[str, str] = ENVIRONMENT,
) -> subprocess.CompletedProcess[str]:
    """`partialfc ARGUMENTS` to its end. With `ranks`, or with options of it, torchrun starts the ranks."""
    return warm_python().run(*_words(arguments, ranks, torchrun), env=environment, cwd=cwd)


def start(
    *arguments: object,
    ranks: int = 0,
    torchrun: Sequence[object] = (),
    stdout: int = subprocess.PIPE,
    stderr: int = 2,
    environment: dict[str, str] = ENVIRONMENT,
) -> WarmProcess:
    """`partialfc ARGUMENTS`, running; stdout and stderr as for subprocess.Popen."""
    return warm_python().start(
        *_words(arguments, ranks, torchrun), env=environment, stdout=stdout, stderr=stderr, cwd=ROOT
    )


def _words(arguments: Sequence[object], ranks: int, torchrun: Sequence[object]) -> list[object]:
    """What follows `python -m`. The ranks that torchrun starts are new interpreters, as for users."""
    if not (ranks or torchrun):
        return ["partialfc", *arguments]
    alone = ["--standalone", "--nproc-per-node", ranks] if ranks else []
    return ["torch.distributed.run", *alone, *torchrun, "-m", "partialfc", *arguments]
