"""A connection of uvicorn that does not wait for ever for a request."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


def timed(head_seconds: float) -> type[H11Protocol]:
    """HTTP/1.1 whose connections are closed where the line and headers of a request take longer.

    So a client that sends nothing, or a byte now and then, holds one of the connections for that long only.
    """

    class Timed(H11Protocol):
        _late: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
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

        def _wait(self) -> None:
            if self._late is None:
                self._late = self.loop.call_later(head_seconds, self.transport.close)

        def _stop_waiting(self) -> None:
            if self._late is not None:
                self._late.cancel()
                self._late = None

    return Timed
