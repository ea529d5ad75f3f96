"""Connections of uvicorn: so many at once, and none waits for ever for a request."""

import asyncio
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from partialfc.serving.service.problem import Problem

CROWDED = "partialfc.crowded"  # in the state of requests whose connection came when there were too many


def bounded(head_seconds: float, most: int) -> type[H11Protocol]:
    """HTTP/1.1 whose connections are closed where the line and headers of a request take longer.

    So a client that sends nothing, or a byte now and then, holds one of the connections for that long only.
    most: connections at once; the state of requests on others has CROWDED, how many there were.
    """

    class Bounded(H11Protocol):
        _late: asyncio.TimerHandle | None = None

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

        def connection_lost(self, exc: Exception | None) -> None:
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

    return Bounded
