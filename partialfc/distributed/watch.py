"""Ends a rank whose accelerator waits for other ranks in vain, with an error that names them.

A collective of an accelerator, such as NCCL's, returns at once, and so raises nothing when another rank never
comes to it: the program waits in whatever it reads next from the device. torch's own watchdog then ends the
process with SIGABRT, and names nobody. So threads stand beside the program: one looks at the device, one
talks with the other ranks. The program itself cannot raise the error, because it does not get that far.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import Store

from partialfc.distributed.accelerator import is_accelerator
from partialfc.distributed.failures import blame_of_silence
from partialfc.distributed.inquiry import ANSWER_SECONDS, Answer, Inquiry, place_of
from partialfc.distributed.standstill import Standstill
from partialfc.errors import tell

LOOK_SECONDS = 1.0  # between two looks; less where the timeout is short
LOOKS_OF_A_WAIT = 3  # a device that stands still so many times waits for another rank
ASKING_SECONDS = 4 * ANSWER_SECONDS  # after which the store does not answer
LEAVING_SECONDS = 30.0  # how long it may take to leave the group after an error; never above the timeout
RECORDERS = ("TORCH_FR_DUMP_TEMP_FILE", "TORCH_NCCL_DEBUG_INFO_TEMP_FILE")


@contextmanager
def watching(
    device: torch.device, *, timeout: timedelta, store: Store, rank: int, size: int
) -> Iterator[None]:
    """Around all that this rank does in the default process group, joining it included.

    Where the device stands still for the timeout, or another rank has ended with an error, this process ends
    with status 1 and a DistributedError on stderr. An error inside is told to the other ranks, and this one
    leaves the group at once. Does nothing for a CPU, whose collectives raise their errors themselves.
    """
    if size == 1 or not is_accelerator(device):
        yield
        return
    watch = Watch(device, seconds=timeout.total_seconds(), store=store, rank=rank, size=size)
    watch.start()
    try:
        yield
    except BaseException as error:
        watch.leave(error)
        raise
    finally:
        watch.stop()


class Watch:
    """The two threads of a rank."""

    def __init__(self, device: torch.device, *, seconds: float, store: Store, rank: int, size: int) -> None:
        self._device, self._seconds, self._rank, self._size = device, seconds, rank, size
        self._look = min(LOOK_SECONDS, seconds / 20)
        self._own = Inquiry(store, rank=rank, size=size)
        # A connection of its own: nothing that the program asks of the store holds it up.
        connection = store.clone()  # type: ignore[attr-defined]
        self._inquiry = Inquiry(connection, rank=rank, size=size)
        self._program = threading.get_ident()
        self._over = threading.Event()
        self._fault = ""  # what makes this rank open an inquiry
        self._waits = False
        self._alone = threading.Event()  # that nobody can be asked
        self._said = False
        self._threads = [
            threading.Thread(target=self._look_at_device, name="watch of the device", daemon=True),
            threading.Thread(target=self._listen, name="watch of the ranks", daemon=True),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        self._alone.set()
        for thread in self._threads:
            thread.join(ASKING_SECONDS)

    def leave(self, error: BaseException) -> None:
        """Tell the others of this rank's error, and leave the group without waiting for its collectives."""
        what = f"{type(error).__name__}: {error}"
        late = threading.Timer(min(LEAVING_SECONDS, self._seconds), _end, [what])
        late.daemon = True
        late.start()
        self._over.set()
        with suppress(RuntimeError):
            self._own.answer(Answer(ended=what.splitlines()[0]))
            self._own.open()
        with suppress(RuntimeError, ValueError):
            dist.distributed_c10d._abort_process_group()
        if not dist.is_initialized():
            late.cancel()

    def _look_at_device(self) -> None:
        """Count for how long it stands still; its own errors are the program's to raise."""
        with suppress(RuntimeError), closing(Standstill(self._device)) as standstill:
            looks = 0
            while not self._over.wait(self._look):
                looks = looks + 1 if standstill.lasts() or not dist.is_initialized() else 0
                self._waits = looks >= LOOKS_OF_A_WAIT
                reported = error_reported(self._device)
                if reported or looks * self._look >= self._seconds:
                    self._fault = reported or f"it had waited {self._seconds:g} s"
                    break
        if self._fault:
            self._alone.wait(ASKING_SECONDS)
            self._say(blame_of_silence(None))

    def _listen(self) -> None:
        try:
            self._converse()
        except RuntimeError:  # the store is gone, and with it what could be asked
            self._alone.set()

    def _converse(self) -> None:
        """Answer when another rank asks; ask when this one's device waits in vain."""
        answered = False
        while not self._over.wait(self._look):
            if self._fault:
                self._inquiry.open()
            if not self._inquiry.is_open():
                continue
            if not answered:
                self._inquiry.answer(Answer(place_of(self._program), self._waits or bool(self._fault)))
                answered = True
            if self._waits or self._fault:
                self._say(self._inquiry.verdict())
                return

    def _say(self, blame: str) -> None:
        """Tell of the error, and end: nothing could raise it in the program."""
        if self._said or self._over.is_set():  # over: the program has an error of its own
            return
        self._said = True
        what = f"a collective of {self._device}" if dist.is_initialized() else "joining the process group"
        why = f" ({self._fault})" if self._fault else ""
        _end(
            f"DistributedError: {what} failed on rank {self._rank} of {self._size}: {blame}{why}",
            for_recorder=True,
        )


def error_reported(device: torch.device) -> str:
    """The error that the device's backend has noticed by itself, as NCCL does where a connection is lost."""
    group = dist.group.WORLD  # None too while the program leaves it
    if group is None:
        return ""
    try:
        backend: Any = group._get_backend(device)
        error = backend.get_error().name
    except (AttributeError, RuntimeError):  # not every kind of backend can be asked
        return ""
    return "" if error == "SUCCESS" else f"{backend.name()} reported {error}"


def _end(what: str, *, for_recorder: bool = False) -> None:
    """The last line of this process, and its end, whatever the program waits for.

    for_recorder: leave the end to torch's watchdog where its flight recorder was asked for.
    """
    tell(what)
    if not (for_recorder and any(os.environ.get(name) for name in RECORDERS)):
        os._exit(1)
