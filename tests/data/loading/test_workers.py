"""Worker processes: none is left behind, and one that dies or hangs is named."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from partialfc.errors import DataError
from tests.data.loading.cases import (
    Trouble,
    Unloadable,
    build,
    read_until_error,
    take,
)
from tests.processes import ENVIRONMENT

pytestmark = [
    pytest.mark.usefixtures("quick_workers"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
]


def test_close_leaves_no_process_behind(pictures):
    before = set(multiprocessing.active_children())
    loader = build(pictures, workers=2)
    next(loader)
    workers = set(multiprocessing.active_children()) - before
    assert len(workers) == 2
    loader.close()
    assert set(multiprocessing.active_children()) <= before
    loader.close()


def test_batches_that_workers_have_ready_are_counted(pictures):
    loader = build(pictures)
    next(loader)
    assert loader.queued == 0, "without workers nothing is read ahead"
    with build(pictures, workers=2) as loader:
        assert loader.queued == 0
        next(loader)
        deadline = time.monotonic() + 60
        while loader.queued < 4:  # torch keeps two batches a worker under way
            assert time.monotonic() < deadline
            time.sleep(0.01)
        next(loader)
        assert loader.queued >= 3
        loader.close()
        assert loader.queued == 0


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            "kill",
            r"a loader worker died: pid \d+ was killed by SIGKILL while reading pictures/6.png; .*`dmesg`",
        ),
        ("exit", r"a loader worker died: pid \d+ exited with code 3 while reading pictures/6.png"),
        (
            "hang",
            r"no batch came within timeout_seconds = 3: .*pid \d+ while reading pictures/6.png.*raise time",
        ),
        (
            "bus",
            r"killed by SIGBUS while reading pictures/6.png; that is shared memory which is full .*/dev/shm",
        ),
    ],
)
def test_a_worker_that_dies_or_hangs_ends_in_an_error_that_names_the_sample(pictures, kind, message):
    """Death is noticed without waiting for the time-out, which is longer than pytest would wait."""
    # Where it hangs the case waits for the time-out; on a busy machine workers need some of it to start.
    timeout = 3 if kind == "hang" else 10_000
    error, _ = read_until_error(Trouble(pictures.images, bad=6, kind=kind), 2, timeout_seconds=timeout)
    assert type(error) is DataError
    assert re.search(message, str(error))


@contextmanager
def working(pictures: Any, workers: int) -> Iterator[tuple[Any, list[BaseProcess]]]:
    """A loader, and its worker processes, each of which has read a batch."""
    before = set(multiprocessing.active_children())
    with build(pictures, workers=workers) as loader:
        take(loader, workers)
        yield loader, [*set(multiprocessing.active_children()) - before]


def test_a_worker_killed_from_outside_is_noticed(pictures):
    with working(pictures, 1) as (loader, (worker,)):
        worker.kill()
        worker.join()
        with pytest.raises(DataError, match=r"was killed by SIGKILL .*while"):
            take(loader, 10)


def test_workers_that_cannot_open_the_source_are_reported(pictures):
    error, _ = read_until_error(Unloadable(pictures.images), 2)
    assert type(error) is DataError
    assert "the loader's workers did not start" in str(error)
    assert "FileNotFoundError: train.rec" in str(error)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_workers_leave_signals_that_stop_a_run_to_the_main_process(pictures, number):
    with working(pictures, 2) as (loader, workers):
        for worker in workers:
            os.kill(worker.pid, number)
        assert len(take(loader, 10)) == 10


def test_workers_end_when_they_are_told_to(pictures):
    """As torch and Python do with one that hangs when the loader or the program ends."""
    with working(pictures, 1) as (_, (worker,)):
        worker.terminate()
        worker.join(60)
        assert worker.exitcode is not None


def run_script(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Workers inherit the pipes: reading these to their end waits for the last of them."""
    path = folder / "script.py"
    path.write_text(script)
    return subprocess.run(
        [sys.executable, path], capture_output=True, text=True, env=ENVIRONMENT, timeout=120, check=False
    )


UNGUARDED = """
from tests.data.loading.cases import Pictures, build, noise

with build(Pictures(noise(5)), workers=1, timeout_seconds=10_000) as loader:
    next(loader)
"""


@pytest.mark.slow
def test_a_script_that_runs_again_in_its_workers_is_told_so(tmp_path):
    done = run_script(tmp_path, UNGUARDED)
    assert done.returncode == 1
    assert "exited with code 1 while starting; a script needs `if __name__ == '__main__':`" in done.stderr


KILLED = """
import os, signal
from tests.data.loading.cases import Pictures, build, noise

if __name__ == "__main__":
    loader = build(Pictures(noise(5)), workers=2)
    next(loader)
    print("running", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_killed_main_process_takes_its_workers_along(tmp_path):
    done = run_script(tmp_path, KILLED)
    assert done.stdout == "running\n"
    assert done.returncode == -signal.SIGKILL
