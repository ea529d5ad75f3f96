"""What runs in a loader's worker: it reads a list of samples and makes one batch of them."""

import multiprocessing
import os
import pickle
import threading
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Generic, TypeVar, cast

import numpy as np
import torch
from torch.utils.data import Dataset, get_worker_info

from partialfc.data.images.opencv import cv2
from partialfc.data.loading.bad_records import Skipped, one_too_many
from partialfc.data.loading.transforms import Transform
from partialfc.data.parallel.processes import leave_stop_signals_to_parent
from partialfc.data.sources.labelled import Source
from partialfc.data.sources.labels import out_of_range
from partialfc.errors import DataError, ImageError, LabelError, MissingExtraError, PartialFCError, RecordError

Content = TypeVar("Content")

# What a worker and the main process tell each other through shared memory, one row a worker.
PID, READING, STOP, DONE = range(4)
NOTHING = -1

STARTING = "while starting"  # what a worker is doing that has not told its process id yet


class BatchReader(Dataset[Any], Generic[Content]):
    """Turns a list of (index, position) pairs into one batch; copied into every worker.

    A record that cannot be decoded is replaced by the next one that can, if `max_bad_records` is not 0.
    Errors are returned, not raised, so that they cross the process boundary with their type and message.
    """

    def __init__(
        self,
        source: Source,
        transform: Transform[Any, Content],
        *,
        max_bad_records: int,
        num_classes: int | None,
    ) -> None:
        self._source = source
        self._transform = transform
        self._max_bad = max_bad_records
        self._failure: DataError | None = None  # of a worker that cannot open its source
        self._num_classes = source.num_classes if num_classes is None else num_classes
        self._board = torch.empty((0, 4), dtype=torch.int64)
        self._row: np.ndarray[Any, np.dtype[np.int64]] = np.zeros(4, np.int64)

    def expect_workers(self, count: int) -> None:
        """Set up the board, the only record of what a worker was reading when it hung or was killed."""
        # A new one each time, as workers that are still ending use the old one.
        self._board = torch.tensor([[0, NOTHING, 0, 0]] * count)
        self._board.share_memory_()  # type: ignore[no-untyped-call]

    def stop_workers(self) -> None:
        """Let workers stop after the image that they are reading."""
        self._board[:, STOP] = 1

    def __getstate__(self) -> dict[str, Any]:
        # A source that cannot be opened again must fail in enter_worker, which notes it; if it failed while a
        # process unpickles its arguments, the main process would only see that it ended.
        return self.__dict__ | {"_source": pickle.dumps(self._source)}

    def enter_worker(self, worker: int) -> None:
        self._row = self._board.numpy()[worker]
        self._row[PID] = os.getpid()
        try:
            self._source = pickle.loads(cast(bytes, self._source))
        except Exception as error:
            self._failure = DataError(f"the loader's workers did not start: {type(error).__name__}: {error}")

    def worker_pids(self) -> set[int]:
        """Of those that have started."""
        return set(self._board[:, PID].tolist())

    def batches_done(self) -> int:
        """How many batches the workers have finished since they were expected."""
        return int(self._board[:, DONE].sum())

    def reading(self, pid: int | None) -> int:
        """The index of the sample that a worker is, or was at its end, reading; or NOTHING."""
        return next((int(row[READING]) for row in self._board if row[PID] == pid), NOTHING)

    def doing(self, pid: int | None) -> str:
        """What a worker is, or was at its end, at work on."""
        if pid not in self.worker_pids():
            return STARTING
        index = self.reading(pid)
        return "while idle" if index == NOTHING else f"while reading {self._source.name(index)}"

    def __getitem__(
        self, pairs: Sequence[tuple[int, int]]
    ) -> tuple[Content, torch.Tensor, list[Skipped]] | PartialFCError:
        """[(index, position)] * B -> the transform's batch, labels int64 [B], and what was replaced."""
        if self._failure is not None:
            return self._failure
        samples, labels = [], torch.empty(len(pairs), dtype=torch.int64)
        skipped: list[Skipped] = []
        for row, (index, position) in enumerate(pairs):
            if self._row[STOP]:
                return PartialFCError("the loader was closed")  # nobody takes it
            try:
                sample, labels[row] = self._sample(index, position, skipped)
            except PartialFCError as error:
                return error
            finally:
                self._row[READING] = NOTHING
            samples.append(sample)
        content = self._transform.collate(samples)
        self._row[DONE] += 1
        return content, labels, skipped

    def _sample(self, index: int, position: int, skipped: list[Skipped]) -> tuple[Any, int]:
        """The transformed image and its label; those of a later record where `index` cannot be decoded."""
        failed = 0
        while True:
            taken = (index + failed) % len(self._source)
            self._row[READING] = taken
            try:
                data, label = self._read(taken)
                return self._transform(data, position), label
            except Exception as error:
                named = self._named(error, taken)
            if not isinstance(named, ImageError | RecordError):
                raise named
            if failed == self._max_bad:
                raise one_too_many(named, self._max_bad)
            skipped.append((taken, named))
            failed += 1

    def _read(self, index: int) -> tuple[bytes, int]:
        data, label = self._source.read(index)
        if not 0 <= label < self._num_classes:
            raise LabelError(out_of_range(label, self._source.name(index), self._num_classes))
        return data, label

    def _named(self, error: Exception, index: int) -> PartialFCError:
        """The error with the sample's name in it; one that is not ours as a DataError."""
        name = self._source.name(index)
        if not isinstance(error, PartialFCError):
            named: PartialFCError = DataError(f"{name}: {type(error).__name__}: {error}")
            named.add_note("".join(traceback.format_exception(error)))
            return named
        return error if name in str(error) else type(error)(f"{name}: {error}")


def enter_worker(worker: int) -> None:
    torch.set_num_threads(1)
    with suppress(MissingExtraError):  # JPEGs of the right size do without OpenCV
        cv2.setNumThreads(1)
    leave_stop_signals_to_parent()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    info = get_worker_info()
    assert info is not None
    assert isinstance(info.dataset, BatchReader)
    info.dataset.enter_worker(worker)


def _end_with_parent() -> None:
    """End this worker when the main process has ended, even if that was killed.

    torch's workers watch the process that forked them, which here is the fork server, and that lives as long
    as any worker does: without this they would keep each other alive for ever.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
