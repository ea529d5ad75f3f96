"""The same work for each part of a range, by several processes; the results come in order."""

import multiprocessing
import os
from collections.abc import Callable, Generator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from partialfc.data.images.opencv import cv2
from partialfc.data.parallel.processes import end_of, leave_stop_signals_to_parent, worker_context
from partialfc.errors import DataError, MissingExtraError, PartialFCError

T = TypeVar("T")
Work = Callable[[int, int], T]

_AHEAD = 2  # parts that a worker is given at a time, so that it has the next one when it is done with one

_WORTH_IT = 500


def in_order(work: Work[T], count: int, *, part: int, workers: int) -> Generator[T, None, None]:
    """work(start, stop) for each part of 0..count, `part` at a time; the results in the order of the parts.

    `workers` processes work, each with a copy of `work`, which is pickled; 0 or 1: the calling process alone.
    Their number changes nothing in what comes: an error of the work is raised in its place, after all
    results before it. No more than 2 * `workers` results wait at any time. When the iterator ends, is closed
    or forgotten, the workers end. DataError where one of them ends before.
    """
    if part < 1 or workers < 0:
        raise ValueError(f"part is {part} and workers {workers}: must be 1 or more, and 0 or more")
    parts = [(start, min(start + part, count)) for start in range(0, count, part)]
    if workers <= 1 or len(parts) <= 1:
        return (work(start, stop) for start, stop in parts)
    return _shared(work, parts, min(workers, len(parts)))


def workers_for(count: int) -> int:
    """How many processes to share work on `count` images among: one a core, none where these are few.

    Starting them takes about as long as decoding some hundreds of images.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores if count >= _WORTH_IT and cores > 1 else 0


def _shared(work: Work[T], parts: list[tuple[int, int]], workers: int) -> Generator[T, None, None]:
    context = worker_context([__name__])
    crew: list[_Worker] = []
    try:
        # One after the other into the list itself: where the next one's start is interrupted, these end too.
        crew.extend(_Worker(context, work) for _ in range(workers))
        results: dict[int, Any] = {}
        given = 0
        for place in range(len(parts)):
            while place not in results:
                while given < min(len(parts), place + _AHEAD * workers):
                    worker = min(crew, key=lambda each: len(each.given))
                    worker.give(given, parts[given])
                    given += 1
                for worker in _answering(crew):
                    results[worker.given[0]] = worker.answer()
                    worker.given.pop(0)
            result = results.pop(place)
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        for worker in crew:
            worker.end()


class _Worker:
    """A process that works, and the places of the parts that it was given and has not answered yet."""

    def __init__(self, context: Any, work: Work[Any]) -> None:
        self.given: list[int] = []
        self.connection: Connection
        self.connection, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(target=_serve, args=(theirs, work), daemon=True)
        self._process.start()
        theirs.close()

    def give(self, place: int, part: tuple[int, int]) -> None:
        with suppress(OSError):  # it has ended, which asking for the answer tells
            self.connection.send(part)
        self.given.append(place)

    def answer(self) -> Any:
        """The result of the oldest part, or the error that it ended with."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self._process.join()
            raise DataError(
                f"a worker process died: {end_of(self._process)}; if nobody killed it, memory was short "
                "(`dmesg` says so): name fewer --workers"
            ) from None

    def end(self) -> None:
        self._process.kill()  # it only reads
        self._process.join()
        self.connection.close()


def _answering(crew: list[_Worker]) -> list[_Worker]:
    """Those of the workers that have an answer, or have ended; there is one at least."""
    ready = wait([worker.connection for worker in crew if worker.given])
    return [worker for worker in crew if worker.connection in ready]


def _serve(connection: Connection, work: Work[Any]) -> None:
    """A worker: answers each part until nobody asks any more."""
    leave_stop_signals_to_parent()
    with suppress(MissingExtraError):
        cv2.setNumThreads(1)
    with suppress(EOFError, OSError):
        while True:
            start, stop = connection.recv()
            connection.send(_result(work, start, stop))


def _result(work: Work[Any], start: int, stop: int) -> Any:
    try:
        return work(start, stop)
    except PartialFCError as error:
        return error
    except Exception as error:  # which may not survive the way
        pid = multiprocessing.current_process().pid
        return RuntimeError(f"worker {pid}: {type(error).__name__}: {error}")
