"""What a request asks for: its method and path, which are never guessed."""

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from partialfc.serving.service.problem import Problem
from partialfc.serving.service.target import read_target
from tests.serving.service.cases import TOKEN, Running, files, png, problem, serving, write_model


@pytest.mark.parametrize(
    ("raw", "host", "path"),
    [
        (b"/gallery/Ren%C3%A9%2Fa", None, "/gallery/René/a"),
        (b"http://localhost:8000/card", "localhost:8000", "/card"),
        (b"HTTPS://any.example", "any.example", "/"),
        (b"/http://any.example/card", None, "/http://any.example/card"),
        (b"*", None, "*"),
    ],
    ids=["path", "address", "host-alone", "path-with-address", "star"],
)
def test_a_target_is_a_path_or_a_whole_address(raw: bytes, host: str | None, path: str) -> None:
    assert read_target(raw) == (host, path)


@pytest.mark.parametrize("name", ["Ren%E9", "%ff%fe", "%ed%a0%80", "a%0Ab", "a%0A"])
def test_a_path_that_would_be_guessed_is_refused(name: str) -> None:
    with pytest.raises(Problem, match=f"path is /gallery/{name}: must"):
        read_target(f"/gallery/{name}".encode())


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("service")
    model: Path = write_model(folder / "tiny.onnx")
    environment = {"PARTIALFC_TOKEN": TOKEN}
    with serving(model, "--gallery", folder / "people", environment=environment, token=TOKEN) as running:
        yield running


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Ren%E9", "Ren%E8", "Anna%0A", "a%0Ab"])
def test_no_name_is_changed_on_its_way_to_the_gallery(service: Running, name: str) -> None:
    for method in ("POST", "GET", "DELETE"):
        sent = files(png(1)) if method == "POST" else None
        told = problem(service.client.request(method, f"/gallery/{name}", files=sent))
        assert (told["status"], told["field"], told["value"]) == (422, "path", f"/gallery/{name}")
    assert service.client.get("/gallery").json() == {"images": 0}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "path", "status", "value", "rule"),
    [
        ("POST", "/embed/", 404, "/embed/", "/embed, "),
        ("GET", "/gallery%0A", 422, "/gallery%0A", "line break"),
        ("PUT", "/gallery/x", 405, "PUT", "must be DELETE, GET, HEAD or POST for /gallery/x"),
        ("HEAD", "/embed", 405, "HEAD", "must be POST for /embed"),
        ("DELETE", "/card", 405, "DELETE", "must be GET or HEAD for /card"),
    ],
)
def test_what_there_is_not(
    service: Running, method: str, path: str, status: int, value: str, rule: str
) -> None:
    answer = service.client.request(method, path, follow_redirects=False)
    assert answer.status_code == status
    if status == 405:
        assert all(allowed in rule for allowed in answer.headers["allow"].split(", "))
    if method != "HEAD":
        told = problem(answer)
        assert told["value"] == value
        assert rule in told["rule"]


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/card", "/openapi.json", "/gallery"])
def test_where_get_is_head_is_too(service: Running, path: str) -> None:
    answer = service.client.head(path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == service.client.get(path).headers["content-type"]
    with httpx.Client(base_url=service.client.base_url) as stranger:
        assert stranger.head(path).status_code == (200 if path in ("/healthz", "/readyz") else 401)


@pytest.mark.slow
def test_a_whole_address_is_answered_as_its_path_and_its_host_counts(tmp_path: Path) -> None:
    with serving(write_model(tmp_path / "tiny.onnx")) as service:
        for host, status in (("localhost", b"200"), ("rebound.example", b"421")):
            with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
                lines = (f"GET http://{host}/card HTTP/1.1", "Host: localhost", "Connection: close", "", "")
                connection.sendall("\r\n".join(lines).encode())
                with connection.makefile("rb") as told:
                    assert told.read().startswith(b"HTTP/1.1 " + status)
