"""Gives figures to a tracker from a thread of its own, so that training never waits for it."""

import logging
import queue
import threading
from collections.abc import Mapping

from partialfc.metrics.trackers.held import Held
from partialfc.metrics.trackers.tracker import Tracker

log = logging.getLogger(__name__)

LAST_SECONDS = 90.0  # for what is still to be sent when a run ends


class Sending:
    """What is sent is logged in the order in which it came. An error is told once, and stops nothing.

    held: what the tracker has of the run already, which is not sent, and where what it gets is noted.
    """

    def __init__(self, name: str, tracker: Tracker, held: Held) -> None:
        self._name = name
        self._tracker = tracker
        self._held = held
        self._before = dict(held.steps)
        self._queue: queue.SimpleQueue[tuple[str, int, Mapping[str, float]] | None] = queue.SimpleQueue()
        self._failed = False  # how the run ended
        self._complained = False
        self._thread = threading.Thread(target=self._send, name=f"tracker {name}", daemon=True)
        self._thread.start()

    def put(self, kind: str, step: int, figures: Mapping[str, float]) -> None:
        """kind: of a record, of which these are the figures by their names."""
        if step > self._before.get(kind, -1):
            self._queue.put((kind, step, figures))

    def close(self, *, failed: bool, seconds: float = LAST_SECONDS) -> None:
        """Returns once all was sent and the tracker has finished, or after so many seconds with a warning."""
        self._failed = failed
        self._queue.put(None)
        self._thread.join(seconds)
        if self._thread.is_alive():
            log.warning("train.trackers: %s does not end; what it was still to send may be lost", self._name)

    def _send(self) -> None:
        while (item := self._queue.get()) is not None:
            kind, step, figures = item
            try:
                self._tracker.log(step, figures)
                self._held.add(kind, step)
            except Exception as error:
                self._complain(error)
        try:
            self._tracker.finish(failed=self._failed)
            self._held.settle()
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


def one_line(error: Exception) -> str:
    """An error of another package, which may have many lines, in one."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
