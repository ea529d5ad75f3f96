"""An HTTP server for one rank's metrics, in a thread, which no scraper and no taken port can hold up."""

import logging
import socket
import threading
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from typing import Any, Self

from prometheus_client import CollectorRegistry, MetricsHandler
from prometheus_client.registry import Collector

log = logging.getLogger(__name__)

SCRAPER_SECONDS = 10.0  # a connection that neither asks nor takes its answer for so long is dropped
POLL_SECONDS = 0.1  # how long `close` may have to wait for the server's thread


class Server:
    """Serves `collector` on http://bind:port/metrics from a thread until `close`.

    port 0 takes any free one. Where the address cannot be had, one warning says so and what to do, `port` is
    None and nothing is served: metrics never end a run. A connection is served by a thread of its own and
    dropped after SCRAPER_SECONDS of silence.
    """

    def __init__(self, collector: Collector, *, port: int, bind: str = "127.0.0.1") -> None:
        self._http: _HTTPServer | None = None
        registry = CollectorRegistry()
        registry.register(collector)
        try:
            self._http = _HTTPServer(bind, port, _Handler.factory(registry))
        except (OSError, OverflowError, UnicodeError) as error:
            log.warning(
                "metrics.port %d: this rank serves no metrics, for %s:%d cannot be listened on (%s). "
                "Training goes on; choose another metrics.port (0 takes any free one) or metrics.bind",
                *(port, bind, port, getattr(error, "strerror", None) or error),
            )
            return
        threading.Thread(
            target=self._http.serve_forever, args=(POLL_SECONDS,), name="metrics", daemon=True
        ).start()

    @property
    def port(self) -> int | None:
        """The port that is served, None if none is."""
        return None if self._http is None else int(self._http.server_address[1])

    def close(self) -> None:
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._http = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Handler(MetricsHandler):
    timeout = SCRAPER_SECONDS


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, bind: str, port: int, handler: Callable[..., Any]) -> None:
        family, *_, address = socket.getaddrinfo(bind, port, type=socket.SOCK_STREAM)[0]
        self.address_family = family
        super().__init__((str(address[0]), port), handler)

    def server_bind(self) -> None:
        """Without HTTPServer's look-up of the own name, which may take seconds where there is no DNS."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A scraper that hangs up is its own business."""
        log.debug("the scrape from %s failed", client_address, exc_info=True)
