"""A service with a gallery: searches, additions and removals, and that none is lost when it is killed."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import httpx
import numpy as np
import pytest

from partialfc.serving.gallery.update import create
from partialfc.serving.model import open_model
from tests.processes import ENVIRONMENT, call
from tests.serving.service.cases import (
    CARD,
    TOKEN,
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

pytestmark = pytest.mark.slow
WRITERS = 6


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "small.onnx")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gallery") / "people"


@pytest.fixture(scope="module")
def service(model: Path, folder: Path) -> Iterator[Running]:
    with with_gallery(model, folder) as running:
        yield running


def with_gallery(model: Path, folder: Path):
    return serving(model, "--gallery", folder, environment={"PARTIALFC_TOKEN": TOKEN}, token=TOKEN)


def add(client: httpx.Client, name: str, *seeds: int) -> httpx.Response:
    return client.post(f"/gallery/{quote(name)}", files=files(*map(png, seeds)))


def who(client: httpx.Client, seed: int, **options: object) -> dict:
    headers = {"Content-Type": "image/png"}
    return client.post("/search", content=png(seed), headers=headers, params=options).json()


def test_who_was_added_is_found_and_a_stranger_is_nobody(service):
    assert who(service.client, 1)["found"] == []
    added = add(service.client, "Anna Č", 1, 2)
    assert (added.status_code, added.json()) == (201, {"name": "Anna Č", "images": 2})
    add(service.client, "bob", 3)
    for seed, name in ((1, "Anna Č"), (2, "Anna Č"), (3, "bob")):
        answer = who(service.client, seed)
        assert (answer["name"], answer["threshold"], answer["far"]) == (name, 0.6, 1e-3)
        assert answer["found"][0] == {"name": name, "score": pytest.approx(1, abs=1e-5)}
        assert len(answer["found"]) == 2
    assert len(who(service.client, 1, k=1)["found"]) == 1
    stranger = who(service.client, 4)
    assert stranger["found"][0]["score"] < 0.6
    assert stranger["name"] is None
    assert service.client.get("/gallery").json() == {"images": 3}
    assert service.metric("partialfc_serve_gallery_embeddings") == 3


def test_a_name_may_have_what_joins_its_letters_or_keeps_them_apart(service):
    for name in ("می\u200cنا", "क्\u200dष", "\N{WOMAN}\u200d\N{PERSONAL COMPUTER}"):
        assert add(service.client, name, 8).json() == {"name": name, "images": 1}
        assert service.client.delete(f"/gallery/{quote(name)}").json() == {"name": name, "images": 1}


def test_a_name_is_one_whether_its_accents_stand_alone_or_not(service):
    one, two = "Ren\u00e9", "Rene\u0301"
    assert add(service.client, one, 8).status_code == 201
    assert add(service.client, two, 9).status_code == 201
    found = who(service.client, 8, k=50)["found"]
    assert [each["name"] for each in found].count(one) == 1
    assert two not in [each["name"] for each in found]
    assert service.client.get(f"/gallery/{quote(two)}").json()["images"] == 2
    assert service.client.delete(f"/gallery/{quote(one)}").json()["images"] == 2
    assert not {one, two} & {each["name"] for each in who(service.client, 8, k=50)["found"]}


def test_a_name_may_be_that_of_a_folder_in_a_folder(service):
    """As a gallery that is built with --class-depth 2 has it; with its / as it is, or as %2F."""
    added = service.client.post("/gallery/staff/Dora", files=files(png(7)))
    assert (added.status_code, added.json()) == (201, {"name": "staff/Dora", "images": 1})
    assert service.client.get("/gallery/staff%2FDora").json() == added.json()
    assert service.client.delete("/gallery/staff%2FDora").json() == added.json()
    assert service.metric("partialfc_serve_requests_total", route="/gallery/{name}", status="201") >= 1


def test_who_is_removed_is_not_found(service):
    add(service.client, "clara", 5, 6)
    removed = service.client.delete("/gallery/clara")
    assert (removed.status_code, removed.json()) == (200, {"name": "clara", "images": 2})
    assert "clara" not in [each["name"] for each in who(service.client, 5, k=50)["found"]]
    told = problem(service.client.delete("/gallery/clara"))
    assert (told["status"], told["field"], told["value"]) == (404, "name", "clara")
    assert service.metric("partialfc_serve_gallery_changes_total", kind="removed") >= 2
    built = service.client.delete("/gallery/a%09b")
    assert (built.status_code, problem(built)["value"]) == (404, "a\tb")


@pytest.mark.parametrize(
    ("path", "options", "status", "field"),
    [
        (f"/gallery/{'x' * 1001}", {}, 422, "name"),
        ("/gallery/", {}, 422, "name"),
        ("/gallery/a%07b", {}, 422, "name"),
        ("/gallery/a%0Ab", {}, 422, "path"),
        ("/gallery/%20a", {}, 422, "name"),
        ("/search", {"k": 0}, 422, "k"),
        ("/search", {"k": 51}, 422, "k"),
        ("/search", {"far": 0.9}, 422, "far"),
    ],
    ids=["long", "empty", "tab", "line", "blank", "none", "many", "far"],
)
def test_an_option_that_breaks_a_rule(service, path, options, status, field):
    answer = service.client.post(path, files=files(png(1)), params=options)
    assert (answer.status_code, problem(answer)["field"]) == (status, field)


def test_nothing_is_added_where_one_image_is_bad(service):
    before = service.client.get("/gallery").json()
    answer = service.client.post("/gallery/dora", files=files(png(1), jpeg(2)[:-40]))
    assert problem(answer)["field"] == "image 1"
    assert service.client.get("/gallery").json() == before


def test_a_second_service_may_not_change_the_gallery(service, model, folder):
    with_token = ENVIRONMENT | {"PARTIALFC_TOKEN": TOKEN}
    done = call("serve", model, "--port", 0, "--gallery", folder, environment=with_token)
    assert done.returncode == 1
    assert "ConfigError" in done.stderr
    assert "another process is changing it, or serves it with a token" in done.stderr


def test_the_commands_see_what_requests_added(model, tmp_path):
    """`partialfc gallery search` at once; `add` and `remove` once the service has ended."""
    folder, image = tmp_path / "people", tmp_path / "who.png"
    image.write_bytes(png(1))
    with with_gallery(model, folder) as service:
        add(service.client, "anna", 1, 2)
        add(service.client, "bob", 3)
        add(service.client, "anne", 1)
        assert who(service.client, 1, k=1)["found"][0]["name"] == "anna"
        done = call("gallery", "search", folder, image, "-k", 1)
        assert done.stdout.splitlines() == [f"{image}: anna 1.0000", "  1.0000 anna"], done.stderr
        done = call("gallery", "remove", folder, "anna")
        assert (done.returncode, "change it over HTTP" in done.stderr) == (1, True)
        same = service.client.post("/verify", files=files(png(1), png(1))).json()["cosine"]
        assert same == pytest.approx(1, abs=1e-6)
        assert max(same, who(service.client, 1)["found"][0]["score"]) <= 1
    done = call("gallery", "remove", folder, "anna")
    assert (done.returncode, done.stdout) == (0, f"{folder}: 2 rows less, 2 now\n"), done.stderr
    with with_gallery(model, folder) as service:
        assert [each["name"] for each in who(service.client, 1)["found"]] == ["anne", "bob"]
        folder.rename(tmp_path / "moved")
        refused = add(service.client, "carl", 4)
        told = problem(refused)
        assert (refused.status_code, told["field"]) == (507, "gallery")
        assert "was removed, moved or replaced while it was open" in told["value"]
        (tmp_path / "moved").rename(folder)
        assert service.client.get("/gallery/carl").status_code == 404
        assert add(service.client, "carl", 4).status_code == 201


def test_without_a_token_a_built_gallery_is_searched_by_many_and_changed_by_nobody(model, tmp_path):
    rows = open_model(model, threads=1).embed(np.stack([picture(seed) for seed in range(6)]))
    create(tmp_path / "people", CARD, [(rows, [(f"name-{seed // 2}", f"{seed}.png") for seed in range(6)])])
    with serving(model, "--gallery", tmp_path / "people") as service:
        answer = who(service.client, 3)
        assert (answer["name"], len(answer["found"])) == ("name-1", 3)
        assert service.client.get("/gallery").json() == {"images": 6}
        assert service.client.get("/gallery/name-1").json() == {"name": "name-1", "images": 2}
        for method in ("POST", "DELETE"):
            answer = service.client.request(method, "/gallery/name-1")
            assert (answer.status_code, problem(answer)["field"]) == (403, "token")
        with serving(model, "--gallery", tmp_path / "people") as second:
            assert who(second.client, 3)["name"] == "name-1"
            assert problem(second.client.post("/search", files=files(png(1), png(2))))["field"] == "images"
        assert sorted((tmp_path / "people").glob("changes*")) == []


def test_a_service_without_a_gallery_says_so(model, tmp_path):
    with serving(model) as service:
        assert problem(service.client.post("/search", files=files(png(1))))["field"] == "gallery"
    done = call("serve", model, "--port", 0, "--gallery", tmp_path / "none")
    assert (done.returncode, "is no gallery: make one with partialfc gallery build" in done.stderr) == (
        1,
        True,
    )


def test_killed_while_many_add_and_remove_it_comes_back_with_all_that_it_answered(model, tmp_path):
    """Each writer adds a name with two images, and removes every other one again, until it is cut off."""
    answered: dict[str, bool] = {}  # by name, whether it is there after the last change that was answered
    tried: set[str] = set()  # the names whose change was cut off

    def write(port: int, writer: int) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=120) as client:
            for number in range(10_000):
                name = f"{writer}-{number}"
                for present in (True, False) if number % 2 else (True,):
                    tried.add(name)
                    try:
                        path = f"/gallery/{name}"
                        answer = add(client, name, writer, number) if present else client.delete(path)
                    except httpx.TransportError:
                        return
                    assert answer.status_code in (200, 201)
                    answered[name] = present
                    tried.remove(name)

    folder = tmp_path / "people"
    for kills in range(3):
        with with_gallery(model, folder) as service, ThreadPoolExecutor(WRITERS) as pool:
            count, sure = service.client.get("/gallery").json()["images"], sum(answered.values())
            assert sure - len(tried) <= count / 2 <= sure + len(tried)
            for name, present in answered.items():
                if name not in tried:
                    found = service.client.get(f"/gallery/{name}").json()
                    assert found.get("images", 0) == (2 if present else 0), name
            if kills < 2:
                goal = len(answered) + 10 * WRITERS
                writers = [
                    pool.submit(write, service.port, WRITERS * kills + each) for each in range(WRITERS)
                ]
                assert wait_until(lambda: len(answered) >= goal)  # noqa: B023
                service.process.send_signal(signal.SIGKILL)
                assert [each.result() for each in writers] == [None] * WRITERS
