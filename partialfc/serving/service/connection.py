"""Connections of uvicorn: so many at once, and none waits for ever for a request or for a reader."""

import asyncio
import socket
import struct
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from partialfc.serving.service.problem import CLOSE, JSON, Problem

CROWDED = "partialfc.crowded"  # in the state of requests whose connection came when there were too many
LEAST = 16_384  # bytes of an answer that a client takes in `seconds`, where so many are left
AT_ONCE = struct.pack("ii", 1, 0)  # the system shall not keep what is left for the client, which is told so


def bounded(seconds: float, most: int) -> type[H11Protocol]:
    """HTTP/1.1 whose connections are closed where the line and headers of a request take longer, and where a
    client takes less than LEAST bytes of its answers in that time.

    So a client that sends nothing, or a byte now and then, or asks and does not read, holds one of the
    connections for that long only. One that has ended its side, as it may (RFC 9112, 9.6), gets the answers
    to what it has asked until then. most: connections at once; the state of requests on others has CROWDED,
    how many there were.
    """

    class Bounded(H11Protocol):
        _late: asyncio.TimerHandle | None = None
        _unread: asyncio.TimerHandle | None = None
        _ended = False  # the client's side

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > most:
                self.app_state = {**self.app_state, CROWDED: len(self.connections)}
            self._wait()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is None or self.cycle.response_complete:
                self._wait()
            else:
                self._stop_waiting()

        def eof_received(self) -> bool:  # type: ignore[override]
            self._ended = True
            return self._answering()  # or it is closed now

        def on_response_complete(self) -> None:
            super().on_response_complete()  # which goes on to the next request, if it was sent meanwhile
            if self.transport.is_closing() or (self._ended and not self._answering()):
                self._close()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._watch_reading()

        def resume_writing(self) -> None:
            super().resume_writing()
            if not self.transport.is_closing():
                self._stop_watching()

        def timeout_keep_alive_handler(self) -> None:
            super().timeout_keep_alive_handler()
            self._close()

        def shutdown(self) -> None:
            super().shutdown()
            if self.transport.is_closing():
                self._close()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            self._stop_watching()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            problem = Problem(HTTPStatus.BAD_REQUEST, "request", msg, "must be HTTP/1.1")
            headers = [("Content-Type", JSON), *CLOSE.items()]
            for event in (
                h11.Response(status_code=HTTPStatus.BAD_REQUEST, headers=headers),
                h11.Data(data=problem.body()),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event))
            self._close()

        def _answering(self) -> bool:
            """Whether there is a whole request that has no answer yet."""
            return self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body

        def _wait(self) -> None:
            if self._late is None:
                self._late = self.loop.call_later(seconds, self._close)

        def _stop_waiting(self) -> None:
            if self._late is not None:
                self._late.cancel()
                self._late = None

        def _close(self) -> None:
            """Close it once the client has read what it was sent, if it does."""
            self.transport.close()
            if self._unread is None:
                self._watch_reading()

        def _watch_reading(self) -> None:
            self._stop_watching()
            left = self.transport.get_write_buffer_size()
            if left:
                self._unread = self.loop.call_later(seconds, self._check_reading, left)

        def _check_reading(self, before: int) -> None:
            if before - self.transport.get_write_buffer_size() < LEAST:
                connected = self.transport.get_extra_info("socket")
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
                self.transport.abort()
            else:
                self._watch_reading()

        def _stop_watching(self) -> None:
            if self._unread is not None:
                self._unread.cancel()
                self._unread = None

    return Bounded
