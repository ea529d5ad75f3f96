"""Batches of whatever a transform makes, read by worker processes, without end and resumable anywhere."""

import multiprocessing
import signal
import time
from collections.abc import Iterator
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any

import torch
from torch.utils.data import DataLoader

from partialfc.data.loading import batch_reader
from partialfc.data.loading.bad_records import BadRecords, Skipped
from partialfc.data.loading.batch_reader import NOTHING, STARTING, BatchReader, enter_worker
from partialfc.data.loading.loader import BatchLoader, Content
from partialfc.data.loading.sampler import BatchSampler, Order, Shuffled
from partialfc.data.loading.transforms import Transform
from partialfc.data.parallel.processes import end_of, worker_context
from partialfc.data.sources.labelled import Source
from partialfc.errors import ConfigError, DataError, PartialFCError

NOTICE = 0.5  # seconds after which a wait for a batch looks whether all workers live


class WorkerLoader(BatchLoader[Content]):
    """An endless iterator of (content, labels int64 [B]): this rank's part of each global batch of `source`.

    `workers` processes read ahead; 0 reads in the calling process. They start with the first batch and run
    until `close()` or the end of a `with` block. The batches are the same for any number of workers; the
    parts of all ranks together are the same for any world size. `order`: which samples they hold; None: each
    once an epoch, shuffled.

    Labels must be below `num_classes`; None: what the source says. Up to `max_bad_records` records that
    cannot be decoded are each replaced by the next one that can. `timeout_seconds` bounds the wait for a
    batch of a worker that hangs; one that ends, or is killed, is noticed at once. Raises ConfigError for a
    bad argument and DataError for an empty source.
    """

    def __init__(
        self,
        source: Source,
        transform: Transform[Any, Content],
        *,
        global_batch: int,
        rank: int,
        world_size: int,
        seed: int,
        position: int,
        workers: int,
        pin_memory: bool,
        max_bad_records: int,
        timeout_seconds: float,
        num_classes: int | None = None,
        order: Order | None = None,
    ) -> None:
        super().__init__(position)
        if len(source) == 0:
            raise DataError("the source is empty: it must hold at least one image")
        for name, value, rule, holds in (
            ("workers", workers, "0 (read in this process) or more", workers >= 0),
            (
                "max_bad_records",
                max_bad_records,
                "0 (none is skipped) or more",
                max_bad_records >= 0,
            ),
            ("timeout_seconds", timeout_seconds, "more than 0", timeout_seconds > 0),
        ):
            if not holds:
                raise ConfigError(f"{name} is {value}: it must be {rule}")
        self._reader = BatchReader(
            source, transform, max_bad_records=max_bad_records, num_classes=num_classes
        )
        self._sampler = BatchSampler(
            Shuffled(len(source), seed=seed) if order is None else order,
            global_batch=global_batch,
            rank=rank,
            world_size=world_size,
            position=position,
        )
        self._global_batch = global_batch
        self._workers = workers
        self._pin_memory = pin_memory
        self._timeout = timeout_seconds
        self._bad_records = BadRecords(max_bad_records)
        self._batches: Iterator[Any] | None = None
        self._taken = 0  # batches since the workers started
        self._processes: list[BaseProcess] = []

    @property
    def batch_size(self) -> int:
        return self._sampler.batch_size

    def indices_at(self, position: int) -> list[int]:
        """The samples, by their index in the source, of this rank's batch at a position of the stream."""
        return [index for index, _ in self._sampler.batch_at(position)]

    @property
    def queued(self) -> int:
        return self._reader.batches_done() - self._taken if self._processes else 0

    @property
    def bad_records(self) -> int:
        return len(self._bad_records)

    def __next__(self) -> tuple[Content, torch.Tensor]:
        try:
            batch = self._take()
            if isinstance(batch, PartialFCError):
                raise batch
            content, labels, skipped = batch
            self._bad_records.add(skipped)
        except BaseException:
            self.close()  # torch's iterator may have lost a batch; a new one starts at the current position
            raise
        self._taken += 1
        self._position += self._global_batch
        return content, labels

    def close(self) -> None:
        # Not by killing the workers: one that dies with a lock of torch's queues would block us for ever.
        self._reader.stop_workers()
        self._processes = []
        self._batches = None  # the last reference: torch's iterator joins its workers and threads

    def _take(self) -> tuple[Content, torch.Tensor, list[Skipped]] | PartialFCError:
        failure = self._death()  # a dead worker's batches never come
        if failure is None:
            try:
                if self._batches is None:
                    self._batches = self._start()
                return self._wait(self._batches)
            except Exception as error:
                failure = self._explain(error)
                if failure is None:
                    raise
                error.__traceback__ = None  # torch leaves a cycle through it that keeps its iterator alive
        # Outside the except block nothing else refers to torch's iterator, so that closing ends it.
        for process in self._processes:
            if self._reader.reading(process.pid) != NOTHING:
                process.kill()  # it hangs; inside a read it holds none of torch's locks
        self.close()
        raise failure

    def _wait(self, batches: Iterator[Any]) -> tuple[Content, torch.Tensor, list[Skipped]] | PartialFCError:
        """The next batch; torch's own error after timeout_seconds, or where a worker has ended before."""
        began, started = time.monotonic(), False
        while True:
            try:
                taken: tuple[Content, torch.Tensor, list[Skipped]] | PartialFCError = next(batches)
                return taken
            except RuntimeError as error:
                if not _is_timeout(error):
                    raise
                if not started and self._have_started():  # that may take as long again
                    began, started = time.monotonic(), True
                if time.monotonic() - began >= self._timeout or self._death() is not None:
                    raise
                error.__traceback__ = None

    def _have_started(self) -> bool:
        return {process.pid for process in self._processes} <= self._reader.worker_pids()

    def _start(self) -> Iterator[Any]:
        self._sampler.load_state_dict(self.state_dict())
        if self._workers:
            self._reader.expect_workers(self._workers)
        loader: DataLoader[Any] = DataLoader(
            self._reader,
            batch_size=None,  # the sampler yields batches, and the reader reads one at a time
            sampler=self._sampler,
            num_workers=self._workers,
            pin_memory=self._pin_memory,
            timeout=min(NOTICE, self._timeout) if self._workers else 0,
            worker_init_fn=enter_worker,
            multiprocessing_context=worker_context([batch_reader.__name__]) if self._workers else None,
            # A generator of its own: starting the loader must not move torch's global random numbers,
            # or a resumed run would draw others than one that never stopped.
            generator=torch.Generator(),
        )
        self._taken = 0
        others = set(multiprocessing.active_children())
        batches: Iterator[Any] = iter(loader)
        self._processes = [process for process in multiprocessing.active_children() if process not in others]
        return batches

    def _explain(self, error: Exception) -> DataError | None:
        """The error to raise when no batch came; None if the workers are not its cause."""
        if self._workers == 0:
            return None
        # The end of a broken connection is seen before the end of the process at its other side.
        wait([process.sentinel for process in self._processes], timeout=0 if _is_timeout(error) else 1)
        if death := self._death():
            return death
        if not _is_timeout(error):
            return None
        states = "; ".join(
            f"pid {process.pid} {self._reader.doing(process.pid)}" for process in self._processes
        )
        return DataError(
            f"no batch came within timeout_seconds = {self._timeout:g}: {states}; "
            f"raise timeout_seconds if the storage is that slow"
        )

    def _death(self) -> DataError | None:
        dead = [process for process in self._processes if process.exitcode is not None]
        if not dead:
            return None
        ends = "; ".join(f"{end_of(process)} {self._reader.doing(process.pid)}" for process in dead)
        causes = dict.fromkeys(_CAUSES[process.exitcode] for process in dead if process.exitcode in _CAUSES)
        if any(self._reader.doing(process.pid) == STARTING for process in dead):
            causes["a script needs `if __name__ == '__main__':` around its main part"] = None
        return DataError("; ".join((f"a loader worker died: {ends}", *causes)))


# By exit code, what ends a process in this way when nobody sent it the signal by hand.
_CAUSES = {
    -signal.SIGKILL: "the kernel does that where memory is short (`dmesg` says so): lower data.workers, or "
    "raise the job's memory",
    -signal.SIGBUS: "that is shared memory which is full (`df /dev/shm`), or a data file that became shorter "
    "while it was read",
}


def _is_timeout(error: Exception) -> bool:
    """Whether torch waited for a batch as long as it was told to."""
    return isinstance(error, RuntimeError) and str(error).startswith("DataLoader timed out")
