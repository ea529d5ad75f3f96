"""Connections as they are ended, and requests whose end can be read in two ways."""

import re
import socket
from collections.abc import Iterator

import pytest

from tests.serving.service.cases import Running, png, serving, write_model

pytestmark = pytest.mark.slow
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(write_model(tmp_path_factory.mktemp("model") / "tiny.onnx")) as running:
        yield running


def post(body: bytes, *headers: str, length: int | None = None) -> bytes:
    """An image's request, as bytes; the length that it says is that of the body, or another one."""
    lines = ["POST /embed HTTP/1.1", "Host: localhost", "Content-Type: image/png", *headers]
    lines += [f"Content-Length: {len(body) if length is None else length}", "", ""]
    return "\r\n".join(lines).encode() + body


def told(service: Running, sent: bytes, *, end: bool) -> bytes:
    """All that comes back until the service closes. end: whether the client ends its side at once."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
        connection.sendall(sent)
        if end:
            connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as answers:
            return answers.read()


@pytest.mark.parametrize(
    ("sent", "answers"),
    [
        (HEALTH, [b"200"]),
        (post(png(1)), [b"200"]),
        (HEALTH + post(png(1)) + HEALTH, [b"200"] * 3),
        (post(png(1))[:-5], []),
        (HEALTH + post(png(1))[:-5], [b"200"]),
        (HEALTH + HEALTH[:-5], [b"200"]),
        (b"", []),
    ],
    ids=["one", "with-body", "several", "cut", "one-and-cut-body", "one-and-cut-head", "none"],
)
def test_who_ends_its_side_gets_the_answers_to_all_that_it_asked(
    service: Running, sent: bytes, answers: list[bytes]
) -> None:
    assert re.findall(rb"HTTP/1\.1 (\d+) ", told(service, sent, end=True)) == answers


@pytest.mark.parametrize("path", [b"/embed", b"/healthz", b"/nothing"])
def test_a_body_with_two_ends_is_refused_and_nothing_behind_it_is_read(service: Running, path: bytes) -> None:
    """Behind a proxy that believes the other one, what follows would be another client's request."""
    chunked = b"\r\n".join([b"5", b"image", b"0", b"", b""])
    sent = post(chunked, "Transfer-Encoding: chunked", length=4).replace(b"/embed", path) + HEALTH
    found = told(service, sent, end=False)
    assert found.startswith(b"HTTP/1.1 400 ")
    assert found.count(b"HTTP/1.1 ") == 1
    assert b'"field": "Transfer-Encoding"' in found
