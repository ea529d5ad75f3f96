"""What one rank's collectives move, and how long they take."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import Tensor

from partialfc.distributed.moments import Moment, moment, passed, seconds_between


@dataclass(slots=True)
class Traffic:
    """What one rank's collectives moved since the last `reset`, by collective; one rank alone moves nothing.

    calls: how often each was called. bytes: the size of the larger tensor it took or gave here, padding
    included: all_gather the gathered rows, reduce_scatter the rows put in, all_reduce and broadcast theirs.
    What travels on the wire for them depends on the algorithm: for a ring, (W - 1) / W of the bytes in and
    as many out; twice that for all_reduce. seconds: how long each took, waiting for other ranks included;
    on a GPU they are added by a later call, once it has passed them. `observer` is then told of the call:
    collective, bytes, seconds.
    """

    calls: dict[str, int] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    observer: Callable[[str, int, float], None] | None = None
    _running: deque[tuple[str, int, Moment, Moment]] = field(default_factory=deque)

    def add(self, collective: str, tensor: Tensor) -> None:
        self.calls[collective] = self.calls.get(collective, 0) + 1
        self.bytes[collective] = self.bytes.get(collective, 0) + tensor.nbytes

    @contextmanager
    def measured(self, collective: str, tensor: Tensor) -> Iterator[None]:
        """Counts and times the collective inside; nothing where it fails."""
        started = moment(tensor.device)
        yield
        self.add(collective, tensor)
        self._running.append((collective, tensor.nbytes, started, moment(tensor.device)))
        self.settle()

    def settle(self) -> None:
        """Add the seconds of the collectives that have ended on their device."""
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
