"""An HTTP server for one rank's metrics, in a thread. No scraper and no taken port stops the run."""

import logging
import socket
import threading
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from typing import Any, Self

from prometheus_client import CollectorRegistry, MetricsHandler
from prometheus_client.registry import Collector

log = logging.getLogger(__name__)

SCRAPER_SECONDS = 10.0  # a connection on which nothing happens for so long is closed
POLL_SECONDS = 0.1  # the longest time that `close` waits for the server's thread


class Server:
    """Serves `collector` on http://bind:port/metrics from a thread until `close`.

    port 0 takes any free one. Where the address cannot be used, a warning says what to do, `port` is None and
    nothing is served: metrics never end a run. Each connection is served by a thread of its own, and closed
    after SCRAPER_SECONDS in which nothing happens on it.
    """

    def __init__(self, collector: Collector, *, port: int, bind: str = "127.0.0.1") -> None:
        self._http: _HTTPServer | None = None
        registry = CollectorRegistry()
        registry.register(collector)
        try:
            self._http = _HTTPServer(bind, port, _Handler.factory(registry))
        except (OSError, OverflowError, UnicodeError) as error:
            log.warning(
                "metrics.port %d: this rank serves no metrics, because it cannot listen on %s:%d (%s). "
                "Training goes on; choose another metrics.port (0 takes any free one) or metrics.bind",
                *(port, bind, port, getattr(error, "strerror", None) or error),
            )
            return
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(POLL_SECONDS,), name="metrics", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int | None:
        """The port that is served; None where nothing is."""
        return None if self._http is None else int(self._http.server_address[1])

    def close(self) -> None:
        """Stop serving."""
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._thread.join()
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
        """Bind without HTTPServer's look-up of the host's name, which takes seconds where DNS is missing."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log at level debug only: a scraper that closes its connection early does no harm."""
        log.debug("the scrape from %s failed", client_address, exc_info=True)
