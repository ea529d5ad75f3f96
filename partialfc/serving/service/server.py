"""From an application to a process that serves it: the socket, the signals, the end."""

import gc
import resource
import signal
import socket
from collections.abc import Callable
from typing import Any

import uvicorn

from partialfc.errors import ConfigError
from partialfc.serving.service.connection import bounded
from partialfc.serving.service.token import is_loopback

CONNECTIONS = 512  # at once; requests on others are answered 503
KEEP_ALIVE_SECONDS = 30
BACKLOG = 1024
FILES = 16_384  # and so many connections, if the system lets it; without room for one no probe is answered
LONGEST_HEAD = 16_384  # bytes of a request's line and headers


def listening_socket(host: str, port: int, *, has_token: bool) -> socket.socket:
    """A socket bound to an address, which nobody reaches before `serve`. port: 0 for any free one.

    Raises ConfigError for a host that is none, or that others reach where there is no token, and for a port
    that is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"--host is {host!r}: it must be an address of this machine: {error}") from error
    if not (has_token or is_loopback(str(address[0]))):
        raise ConfigError(
            f"--host is {host}, which other machines reach, and there is no token: give one by --token-file "
            "or PARTIALFC_TOKEN, or stay on 127.0.0.1"
        )
    bound = socket.socket(family, kind, protocol)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise _taken(host, port, error) from error
    return bound


def url_of(bound: socket.socket) -> str:
    """http://ADDRESS:PORT."""
    address, port, *_ = bound.getsockname()
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def listen(bound: socket.socket) -> None:
    """Let connections come in, which wait until `serve` takes them. Raises ConfigError."""
    try:
        bound.listen(BACKLOG)
    except OSError as error:
        address, port, *_ = bound.getsockname()
        raise _taken(address, port, error) from error


def serve(
    app: Any,
    listening: socket.socket,
    *,
    client_seconds: float,
    grace_seconds: float,
    ready: Callable[[], None],
) -> None:
    """Serve until SIGTERM or SIGINT; then finish what is in flight, within `grace_seconds`, and return.

    client_seconds: that a client may take for the line and headers of a request, and for the next LEAST bytes
    of an answer.
    ready: is called once a signal ends the service in that way.
    """
    config = uvicorn.Config(
        app,
        http=bounded(client_seconds, CONNECTIONS),
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=int(grace_seconds) + 1,
        backlog=BACKLOG,
        h11_max_incomplete_event_size=LONGEST_HEAD,
        access_log=False,
        ws="none",
        log_config=None,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
    )
    _take_more_files()
    server = uvicorn.Server(config)
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises them once more at its end: exit with 0
        signal.signal(number, server.handle_exit)
    gc.collect()
    gc.freeze()  # or each full collection goes through all imported modules, and holds every request up
    ready()
    server.run(sockets=[listening])


def _take_more_files() -> None:
    """Raise the limit of open files, which is often 1,024, as far as this process may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES if hard == resource.RLIM_INFINITY else min(hard, FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _taken(host: str, port: int, error: OSError) -> ConfigError:
    why = error.strerror or error
    return ConfigError(
        f"port {port} on {host} cannot be used: {why}; choose another --port (0 takes any free one)"
    )
