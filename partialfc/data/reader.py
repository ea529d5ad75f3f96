"""What runs in a loader's worker: a list of samples becomes one batch of decoded, augmented images."""

import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Sequence
from typing import Any, cast

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset, get_worker_info

from partialfc.data.images import Augment, augment, decode, resize
from partialfc.data.source import Source
from partialfc.errors import DataError, LabelError, PartialFCError

Batch = tuple[torch.Tensor, torch.Tensor]

# What a worker and the main process tell each other through shared memory, one row a worker.
PID, READING, STOP = range(3)
NOTHING = -1


class BatchReader(Dataset[Batch | PartialFCError]):
    """Turns a list of (index, position) pairs into one batch; copied into every worker.

    Errors are returned, not raised, so that they cross the process boundary with their type and message.
    """

    def __init__(self, source: Source, image_size: int, channels: int, options: Augment, seed: int) -> None:
        self._source = source
        self._shape = (channels, image_size, image_size)
        self._options = options
        self._random = _PositionRandom(seed)
        self._board = torch.empty((0, 3), dtype=torch.int64)
        self._row: np.ndarray[Any, np.dtype[np.int64]] = np.zeros(3, np.int64)

    def expect_workers(self, count: int) -> None:
        """Sets up the board: the only trace of a worker that hangs or was killed, it pins that on a file."""
        # A new one each time, for workers that are still ending go on reading theirs.
        self._board = torch.tensor([[0, NOTHING, 0]] * count)
        self._board.share_memory_()  # type: ignore[no-untyped-call]

    def stop_workers(self) -> None:
        """Workers leave their batch after the image they are at."""
        self._board[:, STOP] = 1

    def __getstate__(self) -> dict[str, Any]:
        # A source that cannot be opened again must fail where torch reports it, in enter_worker; if it failed
        # while a process unpickles its arguments, the main process would only see that nothing came.
        return self.__dict__ | {"_source": pickle.dumps(self._source)}

    def enter_worker(self, worker: int) -> None:
        self._source = pickle.loads(cast(bytes, self._source))
        self._row = self._board.numpy()[worker]
        self._row[PID] = os.getpid()

    def worker_pids(self) -> set[int]:
        return set(self._board[:, PID].tolist())

    def reading(self, pid: int | None) -> int:
        """The index of the sample that a worker is, or was at its end, reading; or NOTHING."""
        return next(int(row[READING]) for row in self._board if row[PID] == pid)

    def doing(self, pid: int | None) -> str:
        index = self.reading(pid)
        return "while idle" if index == NOTHING else f"while reading {self._source.name(index)}"

    def __getitem__(self, pairs: Sequence[tuple[int, int]]) -> Batch | PartialFCError:
        """[(index, position)] * B -> images uint8 [B, C, H, W], labels int64 [B]."""
        images = np.empty((len(pairs), *self._shape), np.uint8)
        labels = np.empty(len(pairs), np.int64)
        for place, (index, position) in enumerate(pairs):
            if self._row[STOP]:
                break  # nobody will look at this batch
            self._row[READING] = index
            try:
                data, labels[place] = self._read(index)
                images[place] = self._image(data, position)
            except Exception as error:
                return self._named(error, index)
            finally:
                self._row[READING] = NOTHING
        return torch.from_numpy(images), torch.from_numpy(labels)

    def _read(self, index: int) -> tuple[bytes, int]:
        data, label = self._source.read(index)
        num_classes = self._source.num_classes
        if not 0 <= label < num_classes:
            raise LabelError(
                f"label {label} at {self._source.name(index)}: num_classes is {num_classes}, "
                f"so labels must be 0..{num_classes - 1}"
            )
        return data, label

    def _image(self, data: bytes, position: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """An encoded image -> pixels [C, H, W]."""
        channels, size, _ = self._shape
        pixels = resize(decode(data, channels=channels), size)
        return augment(pixels, self._random.at(position), self._options).transpose(2, 0, 1)

    def _named(self, error: Exception, index: int) -> PartialFCError:
        """The error with the sample's name in it; one that is not ours as a DataError."""
        name = self._source.name(index)
        if not isinstance(error, PartialFCError):
            named: PartialFCError = DataError(f"{name}: {type(error).__name__}: {error}")
            named.add_note("".join(traceback.format_exception(error)))
            return named
        return error if name in str(error) else type(error)(f"{name}: {error}")


class _PositionRandom:
    """A random generator for each stream position, a pure function of (seed, position).

    One counter-based generator whose counter is set, which takes a tenth of the time of making a new one.
    """

    def __init__(self, seed: int) -> None:
        self._bits = np.random.Philox(np.random.SeedSequence(seed))
        self._state: Any = self._bits.state
        self._generator = np.random.Generator(self._bits)

    def at(self, position: int) -> np.random.Generator:
        self._state["state"]["counter"][1] = position  # word 0 counts the draws within a sample
        self._bits.state = self._state
        return self._generator


def enter_worker(worker: int) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    # Ctrl-C reaches the whole process group; the main process handles it, and then stops the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    info = get_worker_info()
    assert info is not None
    assert isinstance(info.dataset, BatchReader)
    info.dataset.enter_worker(worker)


def _end_with_parent() -> None:
    """A killed main process takes its workers along.

    torch's workers watch the process that forked them, which here is the fork server, and that in turn lives
    as long as any worker does: without this they would keep each other for ever.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
