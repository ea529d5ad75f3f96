"""Connections of uvicorn: counted, and none waits for ever for a request."""

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from partialfc.serving.service.problem import Problem


@dataclass(slots=True)
class Connections:
    """How many there are now, and from how many on requests are refused."""

    most: int
    now: int = 0


def timed(head_seconds: float, connections: Connections) -> type[H11Protocol]:
    """HTTP/1.1 whose connections are closed where the line and headers of a request take longer.

    So a client that sends nothing, or a byte now and then, holds one of the connections for that long only.
    """

    class Timed(H11Protocol):
        _late: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            connections.now += 1
            self._wait()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is None or self.cycle.response_complete:
                self._wait()
            else:
                self._stop_waiting()

        def connection_lost(self, exc: Exception | None) -> None:
            connections.now -= 1
            self._stop_waiting()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            problem = Problem(HTTPStatus.BAD_REQUEST, "request", msg, "must be HTTP/1.1")
            headers = [("Content-Type", "application/json"), ("Connection", "close")]
            for event in (
                h11.Response(status_code=HTTPStatus.BAD_REQUEST, headers=headers),
                h11.Data(data=problem.body()),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event))
            self.transport.close()

        def _wait(self) -> None:
            if self._late is None:
                self._late = self.loop.call_later(head_seconds, self.transport.close)

        def _stop_waiting(self) -> None:
            if self._late is not None:
                self._late.cancel()
                self._late = None

    return Timed
