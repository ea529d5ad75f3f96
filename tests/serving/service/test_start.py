"""The service's process: where it listens, who may ask, what it does under load, how it ends."""

import json
import resource
import select
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from partialfc.serving.service.server import CONNECTIONS
from tests.paths import ROOT
from tests.processes import ENVIRONMENT, call, warm_python
from tests.serving.service.cases import (
    TOKEN,
    files,
    png,
    problem,
    serving,
    wait_until,
    write_model,
)

UNREAD = 500  # answers, of which no socket's buffers hold all


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "small.onnx")


@pytest.fixture(scope="module")
def slow_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "slow.onnx", slow=True)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--host", "0.0.0.0"), ("--host is 0.0.0.0", "no token", "--token-file")),
        (("--host", "no.such.host.invalid"), ("no.such.host.invalid", "must be an address")),
        (("--far", 0.5), ("no threshold at the false accept rate 0.5", "0.001")),
        (("--token-file", "missing"), ("missing: No such file",)),
    ],
    ids=["open", "no-host", "far", "no-token-file"],
)
def test_options_that_do_not_fit(model, tmp_path, options, says):
    done = call("serve", model, "--port", 0, *options, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert all(each in done.stderr for each in says), done.stderr


def test_a_port_that_is_taken(model, taken):
    done = call("serve", model, "--port", taken)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"partialfc: ConfigError: port {taken} on 127.0.0.1 cannot be used: Address already in use; "
        "choose another --port (0 takes any free one)"
    ]


@pytest.mark.slow
def test_with_a_token_only_who_has_it_is_answered(model, tmp_path):
    """On all addresses; of the variable and the file the file counts."""
    (tmp_path / "token").write_text(TOKEN + "\n")
    options = ("--host", "0.0.0.0", "--token-file", tmp_path / "token")
    with serving(model, *options, environment={"PARTIALFC_TOKEN": "x" * 20}, token=TOKEN) as service:
        assert service.embed(png(1)).status_code == 200
        assert service.client.get("/card", headers={"Host": "any.example"}).status_code == 200
        paths = ("/card", "/metrics", "/openapi.json", "/nothing")
        for given in (None, "Bearer " + "x" * 20, TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer é"):
            headers = {} if given is None else {"Authorization": given.encode("latin-1")}
            with httpx.Client(base_url=service.client.base_url, headers=headers) as stranger:
                for path in paths:
                    answer = stranger.get(path)
                    assert (answer.status_code, problem(answer)["field"]) == (401, "Authorization")
                    assert answer.headers["www-authenticate"].startswith('Bearer realm="partialfc"')
                    assert TOKEN not in answer.text
                assert stranger.post("/embed", files=files(png(1))).status_code == 401
                assert stranger.get("/healthz").status_code == 200
                assert stranger.get("/readyz").status_code == 200


@pytest.mark.slow
def test_a_full_queue_is_told_at_once_and_what_is_in_flight_is_finished(slow_model):
    """The second request finds no room while the first one is computed, in which SIGTERM comes."""
    options = ("--queue", 4, "--max-images", 4, "--timeout", 100, "--max-batch", 4)
    with serving(slow_model, *options) as service, ThreadPoolExecutor(1) as pool:
        first = pool.submit(service.client.post, "/embed", files=files(*map(png, range(4))))
        with httpx.Client(base_url=service.client.base_url, timeout=120) as other:
            queued = lambda: "partialfc_serve_queue_images 4.0" in other.get("/metrics").text  # noqa: E731
            assert wait_until(queued)
            answer = other.post("/embed", files=files(png(1)))
            assert (answer.status_code, problem(answer)["field"]) == (503, "queue")
            assert int(answer.headers["retry-after"]) >= 1
            assert other.get("/readyz").status_code == 200
        service.process.send_signal(signal.SIGTERM)
        assert len(first.result().json()["embeddings"]) == 4
        status, err = service.ended()
        assert (status, err) == (0, "")
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", service.port))


def test_it_can_be_ended_as_soon_as_it_says_that_it_listens(model):
    """A signal before the first turn of its loop is neither lost nor a death."""
    with serving(model) as service:
        service.process.send_signal(signal.SIGTERM)
        assert service.ended() == (0, "")


@contextmanager
def few_files() -> Iterator[None]:
    """Processes that are started may have fewer open files than the service serves connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (CONNECTIONS // 2, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_one_connection_too_many_is_told_as_every_error_is(model):
    """Those that were there before are served on, and probes are answered on any."""
    with ExitStack() as ended, ExitStack() as others:
        with few_files():
            service = ended.enter_context(serving(model, "--timeout", 60))
        assert service.client.get("/card").status_code == 200
        for _ in range(CONNECTIONS):
            others.enter_context(socket.create_connection(("127.0.0.1", service.port), timeout=60))
        with httpx.Client(base_url=service.client.base_url, timeout=60) as late:
            refused = late.get("/card")
            assert (refused.status_code, problem(refused)["field"]) == (503, "connections")
            assert problem(refused)["value"] > CONNECTIONS
            assert (int(refused.headers["retry-after"]), refused.headers["connection"]) == (1, "close")
            assert late.get("/healthz").status_code == 200
            assert service.client.get("/card").status_code == 200
            others.close()
            assert wait_until(lambda: late.get("/card").status_code == 200)
        assert service.metric("partialfc_serve_requests_total", route="other", status="503") >= 1


def test_what_is_no_http_is_told_as_every_error_is(model):
    with (
        serving(model) as service,
        socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection,
    ):
        connection.sendall(b"hello\r\n\r\n")
        with connection.makefile("rb") as told:
            head, _, body = told.read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["error"]["field"] == "request"


COUNTED = """
import gc, os, signal
from partialfc.serving.service.server import listen, listening_socket, serve

async def app(scope, receive, send): ...

def ready():
    print(len(gc.get_objects()), gc.get_freeze_count())
    os.kill(os.getpid(), signal.SIGTERM)

bound = listening_socket("127.0.0.1", 0, has_token=False)
listen(bound)
gc.unfreeze()  # what the process began with, which was forked
serve(app, bound, client_seconds=1, grace_seconds=1, ready=ready)
"""


def test_the_garbage_collector_goes_through_what_requests_make_alone():
    """What was imported is many times more: a full collection of it holds all requests up."""
    done = warm_python().run("-c", COUNTED, env=ENVIRONMENT, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    looked_at, left_alone = map(int, done.stdout.split())
    assert looked_at < left_alone / 10


@pytest.mark.slow
def test_an_answer_or_a_body_that_takes_too_long(slow_model):
    with serving(slow_model, "--timeout", 0.5, "--max-batch", 1) as service:
        answer = service.embed(png(1))
        assert (answer.status_code, problem(answer)["field"]) == (504, "answer")
        with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
            lines = (
                "POST /embed HTTP/1.1",
                "Host: localhost",
                "Content-Type: image/png",
                "Content-Length: 9",
            )
            connection.sendall("\r\n".join([*lines, "", ""]).encode() + b"12345")
            with connection.makefile("rb") as told:
                head, _, body = told.read().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 ")
        for begun in (b"", b"GET /healthz HTTP/1.1\r\nX: "):  # and what never becomes a request
            with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
                connection.sendall(begun)
                assert connection.recv(100) == b""
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", service.port))
            connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * UNREAD)
            ended = select.poll()
            ended.register(connection, 0)  # told when the service has given it up, and read by nobody
            assert ended.poll(60_000)
        assert service.client.get("/healthz").status_code == 200
        assert b'"field": "body", "value": "5 bytes so far"' in body
        assert wait_until(lambda: service.metric("partialfc_serve_queue_images") == 0)
        service.process.send_signal(signal.SIGINT)
        assert service.ended()[0] == 0
