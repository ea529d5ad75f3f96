"""What many requests ask for, in few calls that one thread makes; the queue before it is bounded."""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from partialfc.serving.service.problem import busy

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")


class FailedCallError(Exception):
    """The call raised an error, which the log has. call: the name of its batcher."""

    def __init__(self, call: str, error: Exception) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.call = call


class _Job(Generic[Item, Result]):
    """A request's items, and the future of their results."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items
        self.results: dict[int, Result] = {}
        self.loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[list[Result]] = self.loop.create_future()


class Batcher(Generic[Item, Result]):
    """Makes calls with up to `largest` items, of whichever requests wait, in a thread of its own.

    A call that is not full waits for items that requests are still getting ready, at most `wait_seconds`;
    where none are, it is made at once. So a lone request waits for nobody, and under load calls fill up by
    themselves while the one before runs.

    Attributes:
        call: Items to as many results, in their order; an exception as a result is raised to who asked.
        capacity: Items that requests may have in here.
        watch: Is told of each call, its items and its seconds.
    """

    def __init__(
        self,
        name: str,
        call: Callable[[Sequence[Item]], Sequence[Result | Exception]],
        *,
        largest: int,
        wait_seconds: float,
        capacity: int,
        watch: Callable[[int, float], None] = lambda items, seconds: None,
    ) -> None:
        self._call, self._watch = call, watch
        self._largest, self._wait_seconds = largest, wait_seconds
        self._capacity = self._room = capacity
        self._coming = 0  # places whose items are not in the queue yet
        self._queue: deque[tuple[_Job[Item, Result], int]] = deque()
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Items that are being made ready, wait, or are in the call."""
        return self._capacity - self._room

    @property
    def alive(self) -> bool:
        """Whether calls are made."""
        return self._thread.is_alive()

    def place(self, count: int) -> "Place[Item, Result]":
        """Room for a request's items, given back by `with`. Raises Problem, 503, where there is none."""
        with self._changed:
            if count > self._room:
                raise busy(
                    "queue",
                    f"{self.waiting} of {self._capacity} in use",
                    f"has no room for {count} more: try again later",
                )
            self._room -= count
            self._coming += 1
        return Place(self, count)

    def close(self) -> None:
        """Answer what waits, then end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _put(self, job: _Job[Item, Result]) -> None:
        with self._changed:
            self._coming -= 1
            self._queue.extend((job, index) for index in range(len(job.items)))
            self._changed.notify_all()

    def _leave(self, count: int, job: _Job[Item, Result] | None) -> None:
        with self._changed:
            self._room += count
            if job is None:  # nothing was put in the queue
                self._coming -= 1
            elif len(job.results) < len(job.items):  # it waits no longer
                self._queue = deque(each for each in self._queue if each[0] is not job)
            self._changed.notify_all()

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            if not taken:
                continue
            started = time.perf_counter()
            try:
                results = self._call([job.items[index] for job, index in taken])
            except Exception as error:  # whatever it is, its requests are answered and the next ones served
                log.exception("%s failed on %d items", self._thread.name, len(taken))
                results = [FailedCallError(self._thread.name, error)] * len(taken)
            self._watch(len(taken), time.perf_counter() - started)
            taken[0][0].loop.call_soon_threadsafe(_deliver, taken, results)

    def _take(self) -> list[tuple[_Job[Item, Result], int]] | None:
        """What the next call gets, perhaps nothing; None where there will be no more."""
        with self._changed:
            while not self._queue:
                if self._closed:
                    return None
                self._changed.wait()
            end = time.monotonic() + self._wait_seconds
            while self._coming and len(self._queue) < self._largest and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)
            return [self._queue.popleft() for _ in range(min(self._largest, len(self._queue)))]


class Place(Generic[Item, Result]):
    """A request's room in the queue. held: until it is given back, then nobody waits for its results."""

    def __init__(self, batcher: Batcher[Item, Result], count: int) -> None:
        self.held = True
        self._batcher, self._count = batcher, count
        self._job: _Job[Item, Result] | None = None

    async def results(self, items: Sequence[Item]) -> list[Result]:
        """As many results as items, which are as many as room was taken for. Raises FailedCallError."""
        assert self._job is None
        assert len(items) == self._count
        self._job = _Job(items)
        self._batcher._put(self._job)
        return await self._job.answer

    def __enter__(self) -> "Place[Item, Result]":
        return self

    def __exit__(self, *_: object) -> None:
        self.held = False
        self._batcher._leave(self._count, self._job)


def _deliver(taken: list[tuple[_Job[Item, Result], int]], results: Sequence[Result | Exception]) -> None:
    """In the loop's thread: give each job its results."""
    for (job, index), result in zip(taken, results, strict=True):
        if job.answer.done():
            continue
        if isinstance(result, Exception):
            job.answer.set_exception(result)
            continue
        job.results[index] = result
        if len(job.results) == len(job.items):
            job.answer.set_result([job.results[each] for each in range(len(job.items))])
