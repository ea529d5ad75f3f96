"""The folder of a run: made, locked for one run at a time, and its saved settings compared with new ones."""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from partialfc.distributed.world import World
from partialfc.errors import ConfigError


def make_run_dir(path: Path, world: World) -> None:
    """Collective: rank 0 makes the folder. Raises ConfigError on every rank where it cannot be used."""
    problem = ""
    if world.rank == 0:
        try:
            path.mkdir(parents=True, exist_ok=True)
            if not os.access(path, os.W_OK):
                problem = "it cannot be written to"
        except OSError as error:
            problem = str(error.strerror)
    (problem, *_) = world.gather_texts(problem)
    if problem:
        raise ConfigError(f"run.dir is {path}, which cannot be a run's folder: {problem}")


@contextmanager
def run_lock(path: Path, world: World) -> Iterator[None]:
    """Collective: lock the folder inside. Raises ConfigError on every rank where another run has the lock."""
    make_run_dir(path, world)
    holder, file = "", None
    if world.rank == 0:
        file = (path / ".lock").open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.truncate(0)
            file.write(f"process {os.getpid()} on {os.uname().nodename}")
            file.flush()
        except BlockingIOError:
            file.seek(0)
            holder = file.read() or "another process"
    (holder, *_) = world.gather_texts(holder)
    try:
        if holder:
            raise ConfigError(
                f"run.dir {path} is in use by {holder}: end that run, or choose another run.dir"
            )
        yield
    finally:
        if file is not None:
            file.close()


def differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The settings that have changed, each as "section.key old -> new"."""
    found = []
    for key in [*now, *(key for key in before if key not in now)]:
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new, f"{prefix}{key}.")
        elif old != new:
            found.append(f"{prefix}{key} {old} -> {new}")
    return found
