"""Requests to a running service, which all tests of this file share: answers, and what breaks a rule."""

import io
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest

from partialfc import __version__
from partialfc.data.images.codec import encode_jpeg, encode_png
from partialfc.serving.model import Model, open_model
from tests.serving.service.cases import (
    CARD,
    SIZE,
    Running,
    files,
    jpeg,
    picture,
    png,
    problem,
    serving,
    wait_until,
    write_model,
)

LARGEST = 20_000  # bytes of an image
OPTIONS = (
    *("--max-image-bytes", LARGEST, "--max-request-bytes", 50_000),
    *("--max-pixels", 10_000, "--max-images", 4, "--queue", 64, "--timeout", 60),
)
OTHERS = 20  # clients at once

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory):
    return write_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="module")
def model(model_file) -> Model:
    return open_model(model_file, threads=1)


@pytest.fixture(scope="module")
def service(model_file) -> Iterator[Running]:
    with serving(model_file, *OPTIONS) as running:
        yield running


def test_one_image_has_the_embedding_that_the_model_gives(service, model):
    answer = service.embed(png(1))
    assert answer.status_code == 200
    assert answer.json()["model"] == CARD.name
    expected = model.embed(picture(1)[None])
    np.testing.assert_allclose(np.array(answer.json()["embeddings"]), expected, atol=1e-6)


def test_files_come_back_in_their_order_and_as_numpy_where_asked(service, model):
    images = [png(seed) for seed in range(4)]
    answer = service.client.post("/embed", files=files(*images), headers={"Accept": "application/x-npy"})
    rows = np.load(io.BytesIO(answer.content))
    assert answer.headers["content-type"] == "application/x-npy"
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, model.embed(np.stack([picture(seed) for seed in range(4)])), atol=1e-6)


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_images_of_another_size_are_resized(service, kind):
    encode = {"jpeg": encode_jpeg, "png": encode_png}[kind]
    answer = service.embed(encode(picture(0, 50)[:, :30]), f"image/{kind}")
    assert np.linalg.norm(answer.json()["embeddings"][0]) == pytest.approx(1, abs=1e-5)


def test_requests_at_once_each_get_their_own_answer(service, model):
    """From as many connections, some with several images; batches are made of several requests."""
    expected = model.embed(np.stack([picture(seed) for seed in range(OTHERS)]))
    calls = service.metric("partialfc_serve_batch_images_count")
    images = service.metric("partialfc_serve_images_total")

    def ask(seed: int) -> bool:
        with httpx.Client(base_url=service.client.base_url, timeout=120) as client:
            for first in range(seed, seed + 10):
                mine = [each % OTHERS for each in range(first, first + 1 + seed % 4)]
                answer = client.post("/embed", files=files(*map(png, mine)))
                np.testing.assert_allclose(np.array(answer.json()["embeddings"]), expected[mine], atol=1e-6)
        return True

    with ThreadPoolExecutor(OTHERS) as pool:
        assert all(pool.map(ask, range(OTHERS)))
    sent = sum(10 * (1 + seed % 4) for seed in range(OTHERS))
    assert service.metric("partialfc_serve_images_total") - images == sent
    assert service.metric("partialfc_serve_batch_images_count") - calls < OTHERS * 10


def test_two_images_are_compared_at_the_cards_threshold(service, model):
    same = service.client.post("/verify", files=files(png(1), png(1))).json()
    assert same == {"cosine": pytest.approx(1, abs=1e-6), "threshold": 0.6, "far": 1e-3, "same": True}
    first, second = model.embed(np.stack([picture(1), picture(2)]))
    other = service.client.post("/verify", params={"far": 0.01}, files=files(png(1), png(2))).json()
    assert other["cosine"] == pytest.approx(first @ second, abs=1e-6)
    assert (other["threshold"], other["same"]) == (0.3, bool(first @ second >= 0.3))


@pytest.mark.parametrize(
    ("far", "says"), [("0.5", "0.001, 0.01"), ("2", "less than 1"), ("many", "valid number")]
)
def test_a_false_accept_rate_that_the_card_has_not(service, far, says):
    answer = service.client.post("/verify", params={"far": far}, files=files(png(1), png(2)))
    told = problem(answer)
    assert (answer.status_code, told["field"]) == (422, "far")
    assert says in told["rule"]


def test_verification_takes_two_images(service):
    for images in ([png(1)], [png(1), png(2), png(3)]):
        told = problem(service.client.post("/verify", files=files(*images)))
        assert (told["status"], told["field"], told["value"]) == (422, "images", len(images))


@pytest.mark.parametrize(
    ("body", "kind", "status", "field"),
    [
        (b"\xff\xd8\xff" + bytes(60), "image/jpeg", 422, "image 0"),
        (jpeg(0)[:-40], "image/jpeg", 422, "image 0"),
        (png(0)[:-40], "image/png", 422, "image 0"),
        (b"", "image/png", 422, "image 0"),
        (b"GIF89a" + bytes(60), "image/png", 422, "image 0"),
        (png(0), "image/gif", 415, "Content-Type"),
        (png(0), "application/json", 415, "Content-Type"),
        (png(0), "", 415, "Content-Type"),
        (bytes(LARGEST + 1), "image/png", 413, "Content-Length"),
        (encode_png(np.zeros((200, 51, 3), np.uint8)), "image/png", 422, "image 0"),
        (png(0), "multipart/form-data", 422, "Content-Type"),
        (
            b"--x\r\nContent-Disposition: form-data; name=images; filename=b\r\n\r\n",
            "multipart/form-data; boundary=x",
            422,
            "body",
        ),
        (b"no boundary", "multipart/form-data; boundary=x", 422, "body"),
        (b"--x--\r\n", "multipart/form-data; boundary=x", 422, "images"),
    ],
    ids=[
        *("damaged-jpeg", "cut-jpeg", "cut-png", "empty", "gif-bytes", "gif", "json", "no-type"),
        *("large", "pixels", "no-boundary", "cut-parts", "no-parts", "no-files"),
    ],
)
def test_a_body_that_breaks_a_rule(service, body, kind, status, field):
    answer = service.client.post("/embed", content=body, headers={"Content-Type": kind})
    assert (problem(answer)["field"], answer.status_code) == (field, status)


@pytest.mark.parametrize(
    ("sent", "status", "field"),
    [
        (files(*[png(0)] * 5), 422, "images"),
        (files(png(0), bytes(LARGEST + 1)), 413, "image 1"),
        (files(png(0), b"text"), 422, "image 1"),
        (files(*[bytes(LARGEST)] * 3), 413, "Content-Length"),
        ([("images", ("a.pdf", b"%PDF", "application/pdf"))], 415, "images"),
        ([("images", (None, "text"))], 422, "images"),
        ([*files(png(0)), ("other", ("a.png", png(0), "image/png"))], 422, "field"),
        ([("k", (None, "5"))], 422, "field"),
        ([("", ("a.png", png(0), "image/png"))], 422, "field"),
    ],
    ids=["many", "large", "text", "large-together", "pdf", "no-file", "other-field", "option", "no-field"],
)
def test_files_that_break_a_rule(service, sent, status, field):
    told = problem(service.client.post("/embed", files=sent))
    assert (told["field"], told["status"]) == (field, status)


@pytest.mark.parametrize(
    ("method", "path", "field", "rule"),
    [
        ("POST", "/verify?nonsense=1", "option", "must be one of far"),
        ("POST", "/verify?far=0.001&far=0.01", "far", "must be given once"),
        ("POST", "/embed?far=0.001", "option", "takes none"),
        ("POST", "/search?k=3&K=4", "option", "must be one of k, far"),
        ("GET", "/gallery?x", "option", "takes none"),
        ("GET", "/gallery/anna?x=", "option", "takes none"),
        ("POST", "/gallery/anna?name=bob", "option", "takes none"),
        ("DELETE", "/gallery/anna?all=1", "option", "takes none"),
        *[
            ("GET", f"/{path}?x=1", "option", "takes none")
            for path in ("card", "healthz", "readyz", "metrics", "openapi.json")
        ],
    ],
)
def test_an_option_that_a_route_does_not_take(service, method, path, field, rule):
    told = problem(service.client.request(method, path, files=files(png(1)) if method == "POST" else None))
    assert (told["status"], told["field"]) == (422, field)
    assert rule in told["rule"]


def test_a_body_without_a_length_is_cut_at_the_limit(service):
    def chunks() -> Iterator[bytes]:
        while True:
            yield bytes(1000)

    with httpx.Client(base_url=service.client.base_url, timeout=120) as client:
        try:
            answer = client.post("/embed", content=chunks(), headers={"Content-Type": "image/png"})
        except httpx.TransportError:  # it was closed while it was still sent
            return
    assert problem(answer)["field"] == "body"
    assert answer.status_code == 413


def test_a_client_that_leaves_in_the_middle_leaves_nothing_behind(service):
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", service.port)) as connection:
            lines = (
                "POST /embed HTTP/1.1",
                "Host: localhost",
                "Content-Type: image/png",
                "Content-Length: 9000",
            )
            connection.sendall("\r\n".join([*lines, "", ""]).encode() + bytes(5000))
    assert service.embed(png(0)).status_code == 200
    gone = {"route": "/embed", "status": "499"}
    waited = wait_until(lambda: service.metric("partialfc_serve_requests_total", **gone) == 20)
    assert waited, service.client.get("/metrics").text
    assert service.metric("partialfc_serve_held_bytes") == 0
    assert service.metric("partialfc_serve_queue_images") == 0


def test_an_image_without_an_embedding_fails_alone(service, model):
    """Also where it is in one batch with those of others."""
    black = encode_png(np.zeros((SIZE, SIZE, 3), np.uint8))
    expected = model.embed(picture(1)[None])

    def ask(number: int) -> bool:
        with httpx.Client(base_url=service.client.base_url, timeout=120) as client:
            for _ in range(5):
                answer = client.post("/embed", files=files(png(1), *([black] if number % 2 else [])))
                if number % 2:
                    assert (answer.status_code, problem(answer)["field"]) == (422, "images")
                else:
                    np.testing.assert_allclose(np.array(answer.json()["embeddings"]), expected, atol=1e-6)
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))


def test_a_long_and_thin_image(service):
    pixels = np.full((10_000, 1, 3), 200, np.uint8)
    pixels[5000:] = 3
    assert service.embed(encode_png(pixels)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "field"),
    [("GET", "/embed", 405, "method"), ("GET", "/nothing", 404, "path"), ("GET", "/docs", 404, "path")],
)
def test_a_path_that_is_none(service, method, path, status, field):
    told = problem(service.client.request(method, path))
    assert (told["status"], told["field"]) == (status, field)


def test_a_page_of_another_site_is_not_answered(service):
    answer = service.client.get("/card", headers={"Host": "rebound.example"})
    assert (answer.status_code, problem(answer)["field"]) == (421, "Host")
    for host in (f"localhost:{service.port}", "127.0.0.1", "[::1]:80"):
        assert service.client.get("/card", headers={"Host": host}).status_code == 200
    assert service.client.get("/healthz", headers={"Host": "rebound.example"}).status_code == 200


def test_what_the_service_says_of_itself(service):
    assert service.client.get("/healthz").json() == {"status": "ok"}
    assert service.client.get("/readyz").json() == {"status": "ready"}
    assert service.client.get("/card").json()["thresholds"][0]["far"] == 1e-3
    paths = service.client.get("/openapi.json").json()["paths"]
    assert {"multipart/form-data", "image/jpeg"} <= paths["/embed"]["post"]["requestBody"]["content"].keys()
    assert service.metric("partialfc_serve_build_info", model=CARD.name, version=__version__) == 1
    assert service.metric("partialfc_serve_max_batch_images") in (1, 2, 4, 8, 16, 32)  # as was measured


def test_requests_are_counted_by_route_and_status(service):
    good, bad = ({"route": "/embed", "status": status} for status in ("200", "422"))
    before = [service.metric("partialfc_serve_requests_total", **each) for each in (good, bad)]
    service.embed(png(0))
    service.embed(b"text")
    after = [service.metric("partialfc_serve_requests_total", **each) for each in (good, bad)]
    assert [a - b for a, b in zip(after, before, strict=True)] == [1, 1]
    assert service.metric("partialfc_serve_request_seconds_count", route="/embed") >= 2
    assert service.metric("partialfc_serve_model_seconds_count") > 0
