"""The folder of a run: made, locked for one run at a time, and its saved settings compared with new ones."""

import errno
import fcntl
import logging
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from partialfc.distributed.first_rank import on_first_rank
from partialfc.distributed.world import World
from partialfc.errors import ConfigError
from partialfc.files import told

log = logging.getLogger(__name__)

LOCK = ".lock"


def make_run_dir(path: Path, world: World) -> None:
    """Collective: rank 0 makes the folder. Raises ConfigError on every rank where it cannot be used."""
    on_first_rank(world, lambda: _make(path))


@contextmanager
def run_lock(path: Path, world: World) -> Iterator[None]:
    """Collective: lock the folder inside. Raises ConfigError on every rank where another run has the lock."""
    make_run_dir(path, world)
    files: list[int] = []
    try:
        on_first_rank(world, lambda: _lock(path, files))
        yield
    finally:
        for file in files:
            os.close(file)


def problem_of(path: Path) -> str:
    """Why an existing folder cannot be that of a run, in a few words; empty where it can be."""
    for part, is_right, kind in (
        (path, Path.is_dir, "folder"),
        (path / "checkpoints", Path.is_dir, "folder"),
        (path / LOCK, _is_plain_file, "plain file (a link, say): delete it"),
    ):
        if os.path.lexists(part) and not is_right(part):
            return f"{part} is not a {kind}"
        if os.path.lexists(part) and not os.access(part, os.W_OK):
            return f"{part} cannot be written to"
    return ""


def _make(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        problem = problem_of(path)
    except OSError as error:
        problem = told(error)
    if problem:
        raise ConfigError(f"run.dir is {path}, which cannot be a run's folder: {problem}")


def _lock(path: Path, files: list[int]) -> None:
    """Lock the folder's file, and add it to `files`, to be closed at the end."""
    file = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    files.append(file)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(file, 0)
        os.write(file, f"process {os.getpid()} on {os.uname().nodename}".encode())
    except BlockingIOError as error:
        holder = os.read(file, 1000).decode(errors="replace") or "another process"
        raise ConfigError(
            f"run.dir {path} is in use by {holder}: end that run, or choose another run.dir"
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return  # it is locked, though without the holder's name
        log.warning(
            "%s cannot be locked (%s): start no second run in this folder", path / LOCK, error.strerror
        )


def _is_plain_file(path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode)


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
