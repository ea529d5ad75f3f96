"""Clients of an HTTP service, each with one connection that stays open; they ask again once answered.

They cost little beside the service: a request is made once, and of an answer only the head is read closely.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

HOST = "127.0.0.1"


@dataclass
class Load:
    """What the clients saw: seconds of each answer by its status, and connections that broke."""

    seconds: dict[int, list[float]] = field(default_factory=dict)
    broken: int = 0
    began: float = field(default_factory=time.perf_counter)
    ended: float = 0.0

    def count(self, status: int) -> int:
        return len(self.seconds.get(status, []))

    def quantile(self, status: int, share: float) -> float:
        """Of the seconds with a status; not a number where there are none."""
        ordered = sorted(self.seconds.get(status, [float("nan")]))
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """A whole request. headers: their names with _ for -."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: bytes) -> tuple[int, bytes]:
    """The status and the body of an answer; an OSError or IncompleteReadError where the connection breaks."""
    writer.write(asked)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    body = await reader.readexactly(length)
    return int(head.split(b" ", 2)[1]), body


async def client(port: int, requests: Iterable[bytes], load: Load, answered: Callable[[int], None]) -> None:
    """Ask one after the other; connect again where the connection breaks, and go on with the next one.

    answered: is told the status of each, 0 for a connection that broke.
    """
    connection = None
    for asked in requests:
        began = time.perf_counter()
        try:
            if connection is None:
                connection = await asyncio.open_connection(HOST, port)
            status, _ = await ask(*connection, asked)
        except (OSError, asyncio.IncompleteReadError):
            load.broken += 1
            answered(0)
            if connection is not None:
                connection[1].close()
            connection = None
            await asyncio.sleep(0.02)
            continue
        load.seconds.setdefault(status, []).append(time.perf_counter() - began)
        answered(status)
    if connection is not None:
        connection[1].close()


async def drive(port: int, requests: Sequence[Iterable[bytes]], answered: Callable[[int], None]) -> Load:
    """A client for each of `requests`, all at once."""
    load = Load()
    await asyncio.gather(*(client(port, each, load, answered) for each in requests))
    load.ended = time.perf_counter()
    return load
