"""Work in several processes comes out as if one had done it, also where it fails or a process is killed."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from partialfc.data.parallel.in_order import in_order
from partialfc.errors import DataError, RecordError
from tests.processes import is_alive


def pid_and_range(start: int, stop: int) -> tuple[int, list[int]]:
    return os.getpid(), list(range(start, stop))


def fails_at_20(start: int, stop: int) -> int:
    if start == 20:
        raise RecordError("record 20 is damaged")
    if start == 30:
        raise ZeroDivisionError("a bug")
    return start


def killed_at_20(start: int, stop: int) -> int:
    if start == 20:
        os.kill(os.getpid(), signal.SIGKILL)
    return start


def large(start: int, stop: int) -> bytes:
    return bytes([start % 256]) * 1_000_000  # more than a pipe holds


def run(
    work: Callable[[int, int], Any], *, count: int = 100, part: int = 7, workers: int = 2
) -> Iterator[Any]:
    return in_order(work, count, part=part, workers=workers)


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 7, 100])
def test_each_part_comes_once_and_in_order(workers, count):
    results = list(run(pid_and_range, count=count, workers=workers))
    assert [index for _, indices in results for index in indices] == list(range(count))
    pids = {pid for pid, _ in results}
    if count == 100 and workers > 1:
        assert len(pids) == workers
        assert os.getpid() not in pids
        assert not any(map(is_alive, pids))
    else:
        assert pids <= {os.getpid()}


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_in_its_place(workers):
    found = list[int]()
    with pytest.raises(RecordError, match="record 20 is damaged"):  # not the later one
        found.extend(run(fails_at_20, part=10, workers=workers))
    with closing(run(fails_at_20, part=10, workers=workers)) as results:
        assert [next(results), next(results)] == [0, 10]
    with pytest.raises((ZeroDivisionError, RuntimeError), match="a bug"):
        list(in_order(fails_at_20, 40, part=30, workers=workers))


def test_a_worker_that_is_killed_is_told_and_ends_the_others():
    with pytest.raises(
        DataError, match=r"a worker process died: pid \d+ was killed by SIGKILL; .* --workers"
    ):
        list(run(killed_at_20, part=10))


def test_results_larger_than_a_pipe_come_through():
    assert [each[0] for each in run(large, count=20, part=1)] == list(range(20))


def test_workers_end_with_the_iterator():
    with closing(run(pid_and_range)) as results:
        pids = {next(results)[0] for _ in range(8)}
        assert all(map(is_alive, pids))
    assert not any(map(is_alive, pids))


class PickledOnce:
    """Work that only the first worker gets."""

    pickled = 0

    def __getstate__(self) -> dict[str, Any]:
        self.pickled += 1
        if self.pickled > 1:
            raise KeyboardInterrupt
        return {}

    def __call__(self, start: int, stop: int) -> int:
        return start


def test_a_start_that_is_interrupted_leaves_no_worker():
    before = set(multiprocessing.active_children())
    with pytest.raises(KeyboardInterrupt):
        list(run(PickledOnce()))
    assert set(multiprocessing.active_children()) <= before


@dataclass
class Noted:
    """Work that leaves a line in a file for each part that it was given."""

    file: Path

    def __call__(self, start: int, stop: int) -> int:
        with self.file.open("a") as lines:
            lines.write(f"{start}\n")
        return start


def test_workers_do_not_run_ahead_of_the_reader(tmp_path: Path):
    noted = Noted(tmp_path / "parts")
    for taken, _ in enumerate(run(noted, count=200, part=1), start=1):
        assert len(noted.file.read_text().splitlines()) < taken + 2 * 2


def test_wrong_arguments_are_refused_at_once():
    for wrong in ({"part": 0}, {"workers": -1}):
        with pytest.raises(ValueError, match="must be"):
            run(pid_and_range, **wrong)
