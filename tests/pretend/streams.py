"""Streams and events: nothing runs late, but who waits for whom is kept, and every unordered use is a fault.

Each stream has a clock: for every stream, up to which of its operations it has waited. An event is a copy of
the clock of the stream that recorded it. What one stream wrote, another may use once its clock says so.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from time import sleep

from tests.pretend.log import Log
from tests.pretend.memory import Memory

Clock = dict[int, int]

# A device that has so many operations left to do goes on without a gap while the host waits for an event.
BUSY = 50


def reached(when: Clock, clock: Clock) -> bool:
    """Whether `clock` is at `when` or later."""
    return all(clock.get(stream, 0) >= time for stream, time in when.items())


def _advance(clock: Clock, other: Clock) -> None:
    for stream, time in other.items():
        clock[stream] = max(clock.get(stream, 0), time)


class Order:
    """All streams of the device, and how far the host knows that they have come."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.clocks: dict[int, Clock] = {0: {0: 0}}
        self.host: Clock = {}
        self.when_known: list[Callable[[], None]] = []  # called as the host learns more
        self.holds: list[Callable[[], bool]] = []  # each says whether the device waits for another rank
        self.full = False  # whether the device takes no more operations while it waits
        self._local = threading.local()
        self._ids = count(1)

    @property
    def current(self) -> int:
        """The stream of this thread's operations."""
        return getattr(self._local, "stream", 0)

    @contextmanager
    def using(self, stream: int) -> Iterator[None]:
        before, self._local.stream = self.current, stream
        try:
            yield
        finally:
            self._local.stream = before

    def new(self) -> int:
        stream = next(self._ids)
        self.clocks[stream] = {stream: 0}
        return stream

    def now(self, stream: int) -> Clock:
        return dict(self.clocks[stream])

    def everything(self) -> Clock:
        """The point in time at which all streams have done all that they were told."""
        return {stream: clock[stream] for stream, clock in self.clocks.items()}

    def wait(self, stream: int, when: Clock) -> None:
        """From now on the stream's operations come after `when`."""
        _advance(self.clocks[stream], when)

    def is_held(self) -> bool:
        """Whether other ranks are still to come to a collective, which a stream has been told to do."""
        self.holds = [holds for holds in self.holds if holds()]
        return bool(self.holds)

    def take(self) -> None:
        """The device takes one more operation or event; where it is full, once it goes on."""
        while self.full and self.is_held():
            sleep(0.01)

    def host_knows(self, when: Clock) -> None:
        """The host has seen that the device got there, and has waited for that where it had to."""
        while self.is_held():
            sleep(0.01)
        _advance(self.host, when)
        for tell in self.when_known:
            tell()

    def use(self, reads: list[Memory], writes: list[Memory]) -> None:
        """One more operation of the current stream."""
        self.take()
        stream = self.current
        clock = self.clocks[stream]
        clock[stream] += 1
        for memory in [*reads, *writes]:
            if memory.written is not None and not reached(dict([memory.written]), clock):
                self._race(memory.written[0], stream, "has written it")
        for memory in writes:
            if not reached({other: time for other, time in memory.read.items() if other != stream}, clock):
                self._race(next(other for other in memory.read if other != stream), stream, "has read it")
            memory.written, memory.read = (stream, clock[stream]), {}
        for memory in reads:
            memory.read[stream] = clock[stream]

    def freed(self, memory: Memory) -> None:
        """Memory goes back to the stream it came from, which must know of the others that used it."""
        used = dict(memory.read)
        if memory.written is not None:
            used[memory.written[0]] = max(memory.written[1], used.get(memory.written[0], 0))
        for stream in set(used) - memory.recorded - {memory.stream}:
            if not reached({stream: used[stream]}, self.clocks[memory.stream]):
                self.log.fault("record_stream", f"memory of stream {memory.stream} freed in use by {stream}")

    def _race(self, first: int, second: int, what: str) -> None:
        self.log.fault("race", f"stream {second} uses memory before stream {first} {what}")


class Stream:
    """As torch.Stream."""

    def __init__(self, order: Order, number: int) -> None:
        self.order, self.stream_id = order, number
        self._around: list[AbstractContextManager[None]] = []

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and other.stream_id == self.stream_id

    def __hash__(self) -> int:
        return hash(self.stream_id)

    def wait_stream(self, other: "Stream") -> None:
        self.order.wait(self.stream_id, self.order.now(other.stream_id))

    def query(self) -> bool:
        return reached(self.order.now(self.stream_id), self.order.host)

    def is_capturing(self) -> bool:
        """Whether it records a graph, as torch 2.15's optimizers ask."""
        return False

    def synchronize(self) -> None:
        self.order.log.fault("wait", "Stream.synchronize")
        self.order.host_knows(self.order.now(self.stream_id))

    def __enter__(self) -> "Stream":
        around = self.order.using(self.stream_id)
        around.__enter__()
        self._around.append(around)
        return self

    def __exit__(self, *error: object) -> None:
        self._around.pop().__exit__(*error)


class Event:
    """As torch.Event. The device is always behind: the first `query` after `record` says no."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.when: Clock | None = None
        self._asked = False

    def record(self, stream: Stream | None = None) -> None:
        self.order.take()
        self.when = self.order.now(self.order.current if stream is None else stream.stream_id)
        self._asked = False

    def wait(self, stream: Stream | None = None) -> None:
        number = self.order.current if stream is None else stream.stream_id
        if self.when is not None:
            self.order.wait(number, self.when)

    def query(self) -> bool:
        if self.when is None or reached(self.when, self.order.host):
            return True
        if self.order.is_held():
            return False
        if self._asked:
            self.order.host_knows(self.when)
        self._asked = True
        return reached(self.when, self.order.host)

    def synchronize(self) -> None:
        """A fault where the device runs out of work meanwhile, as little was asked of it since `record`."""
        if self.when is not None and not reached(self.when, self.order.host):
            if sum(self.order.everything().values()) - sum(self.when.values()) < BUSY:
                self.order.log.fault("wait", "Event.synchronize")
            self.order.host_knows(self.when)

    def elapsed_time(self, other: "Event") -> float:
        """A millisecond an operation, of whatever stream."""
        assert self.when is not None
        assert other.when is not None
        assert reached(self.when, self.order.host)
        assert reached(other.when, self.order.host)
        return float(sum(other.when.values()) - sum(self.when.values()))
