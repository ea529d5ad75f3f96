"""The `partialfc` command in a process of its own, alone or under torchrun."""

import atexit
import contextlib
import functools
import os
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.paths import ROOT
from tests.warm import StartedPython, WarmProcess, WarmPython

WARM = "WARM_PYTHON"  # of the environment: the folder of the warm Python that a process above has started
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


@functools.cache
def warm_python() -> WarmPython:
    """One for the session, its workers, and the sessions that tests start; the first that asks starts it."""
    if WARM in os.environ:
        return WarmPython(Path(os.environ[WARM]))
    python = StartedPython()
    os.environ[WARM] = str(python.folder)
    atexit.register(python.close)
    return python


def for_torchrun(environment: dict[str, str] = ENVIRONMENT) -> dict[str, str]:
    """An environment in which torchrun starts its ranks warm."""
    return environment | {"PYTHON_EXEC": str(warm_python().executable)}


def call(
    *arguments: object,
    ranks: int = 0,
    torchrun: Sequence[object] = (),
    cwd: Path = ROOT,
    environment: dict[str, str] = ENVIRONMENT,
) -> subprocess.CompletedProcess[str]:
    """`partialfc ARGUMENTS` to its end. With `ranks`, or with options of it, torchrun starts the ranks."""
    words, environment = _under_torchrun(arguments, ranks, torchrun, environment)
    return warm_python().run("-m", *words, env=environment, cwd=cwd)


def start(
    *arguments: object,
    ranks: int = 0,
    torchrun: Sequence[object] = (),
    stdout: int = subprocess.PIPE,
    stderr: int = 2,
    environment: dict[str, str] = ENVIRONMENT,
) -> WarmProcess:
    """`partialfc ARGUMENTS`, running; stdout and stderr as for subprocess.Popen."""
    words, environment = _under_torchrun(arguments, ranks, torchrun, environment)
    return warm_python().start("-m", *words, env=environment, stdout=stdout, stderr=stderr, cwd=ROOT)


def _under_torchrun(
    arguments: Sequence[object], ranks: int, torchrun: Sequence[object], environment: dict[str, str]
) -> tuple[list[object], dict[str, str]]:
    """What follows `python -m`, and in which environment."""
    words = ["partialfc", *arguments]
    if not (ranks or torchrun):
        return words, environment
    alone = ["--standalone", "--nproc-per-node", ranks] if ranks else []
    return ["torch.distributed.run", *alone, *torchrun, "-m", *words], for_torchrun(environment)


_KEPT = list[socket.socket]()


def free_port() -> int:
    """A port of this host that the system gives to nobody else until this process ends.

    A socket that does not listen keeps it: whoever is told the port can listen on it all the same, with
    SO_REUSEADDR, as the servers of torch, Python, Go and the package do; a client before that is refused.
    """
    keeper = socket.socket()
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    keeper.bind(("127.0.0.1", 0))
    _KEPT.append(keeper)
    return int(keeper.getsockname()[1])


def place(rank: int, port: int, *, address: str = "127.0.0.1") -> dict[str, str]:
    """A rank of two in the words that Slurm's srun or a shell uses where no torchrun does."""
    return {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": address, "MASTER_PORT": str(port)}


def descendants(pid: int) -> list[int]:
    """The process's children, theirs, and so on."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
    children = [child for child, parent in parents.items() if parent == pid]
    return children + [each for child in children for each in descendants(child)]


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
