"""Counts what one rank's collectives move, and how long they take."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import Tensor

from partialfc.distributed.instants import Instant, instant, passed, seconds_between


@dataclass(slots=True)
class Traffic:
    """What one rank's collectives moved since the last `reset`, by collective; one rank alone moves nothing.

    calls: how often each was called.
    bytes: the size of the larger of the two tensors that it took and gave on this rank, padding included:
        of all_gather the gathered rows, of reduce_scatter the rows that went in, of all_reduce and broadcast
        the one tensor. How much travels over the network depends on the algorithm: with a ring, (W - 1) / W
        of these bytes in and as many out, and twice that for all_reduce.
    seconds: how long each took, waiting for other ranks included. A GPU's are added in a later call, once
        it has finished the collective.
    observer: is told of each call when its seconds are added: collective, bytes, seconds.
    """

    calls: dict[str, int] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    observer: Callable[[str, int, float], None] | None = None
    _running: deque[tuple[str, int, Instant, Instant]] = field(default_factory=deque)

    def add(self, collective: str, tensor: Tensor) -> None:
        """Count one call; tensor: the larger of the two that it took and gave."""
        self.calls[collective] = self.calls.get(collective, 0) + 1
        self.bytes[collective] = self.bytes.get(collective, 0) + tensor.nbytes

    @contextmanager
    def measured(self, collective: str, tensor: Tensor) -> Iterator[None]:
        """Count and time the collective inside, unless it fails."""
        started = instant(tensor.device)
        yield
        self.add(collective, tensor)
        self._running.append((collective, tensor.nbytes, started, instant(tensor.device)))
        self._add_seconds()

    def _add_seconds(self) -> None:
        """Add the seconds of the collectives that their device has finished."""
        while self._running and passed(self._running[0][-1]):
            collective, size, started, ended = self._running.popleft()
            seconds = seconds_between(started, ended)
            self.seconds[collective] = self.seconds.get(collective, 0.0) + seconds
            if self.observer is not None:
                self.observer(collective, size, seconds)

    def total(self) -> int:
        """The bytes of all collectives."""
        return sum(self.bytes.values())

    def reset(self) -> None:
        self.calls.clear()
        self.bytes.clear()
        self.seconds.clear()
