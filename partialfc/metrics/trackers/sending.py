"""Gives figures to a tracker from a thread of its own, so that training never waits for it."""

import logging
import queue
import threading
import time
from collections.abc import Mapping, Sequence

from partialfc.errors import in_one_line
from partialfc.metrics.trackers.held import Held
from partialfc.metrics.trackers.tracker import KeptError, Tracker

log = logging.getLogger(__name__)

LAST_SECONDS = 90.0  # for what is still to be sent when a run ends


class Sending:
    """What is sent is logged in the order in which it came. An error is told once, and stops nothing.

    Once the run has ended, a tracker that failed last gets no more figures: each might take its time to fail.

    held: what the tracker has of the run already, which is not sent, and where what it gets is noted.
    """

    def __init__(self, name: str, tracker: Tracker, held: Held) -> None:
        self._name = name
        self._tracker = tracker
        self._held = held
        self._before = dict(held.steps)
        self._queue: queue.SimpleQueue[tuple[str, int, Mapping[str, float]] | None] = queue.SimpleQueue()
        self._ended = False
        self._failed = False  # how the run ended
        self._fails = False  # the tracker, at last
        self._complained = False
        self._thread = threading.Thread(target=self._send, name=f"tracker {name}", daemon=True)
        self._thread.start()

    def put(self, kind: str, step: int, figures: Mapping[str, float]) -> None:
        """kind: of a record, of which these are the figures by their names."""
        if step > self._before.get(kind, -1):
            self._queue.put((kind, step, figures))

    def end(self, *, failed: bool) -> None:
        """Let the tracker finish after what is still to be sent. failed: an error ended the run."""
        self._failed, self._ended = failed, True
        self._queue.put(None)

    def wait(self, seconds: float) -> None:
        """Returns once the tracker has finished, or after so many seconds with a warning; after `end`."""
        self._thread.join(seconds)
        if self._thread.is_alive() and not self._complained:
            log.warning("train.trackers: %s does not end; what it was still to send may be lost", self._name)

    def _send(self) -> None:
        while (item := self._queue.get()) is not None:
            kind, step, figures = item
            if self._ended and self._fails:
                continue
            try:
                self._tracker.log(step, figures)
                self._held.add(kind, step)
                self._fails = False
            except Exception as error:
                self._fails = True
                self._complain(error)
        try:
            self._tracker.finish(failed=self._failed)
            self._held.settle()
        except KeptError as error:
            self._held.settle()
            self._complain(error)
        except Exception as error:
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        if not self._complained:
            log.warning(
                "train.trackers: %s: %s; figures of the run are missing there, training goes on",
                self._name,
                one_line(error),
            )
        self._complained = True


def close(several: Sequence[Sending], *, failed: bool, seconds: float = LAST_SECONDS) -> None:
    """End them all at once, and return when they have finished, or after so many seconds with warnings."""
    deadline = time.monotonic() + seconds
    for each in several:
        each.end(failed=failed)
    for each in several:
        each.wait(max(0.0, deadline - time.monotonic()))


def one_line(error: Exception) -> str:
    """An error of another package, which may have many lines, in one."""
    text = in_one_line(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
