"""A real Prometheus with the settings of docker/prometheus scrapes a running service that has a token."""

import contextlib
import json
import re
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docker.boards import SERVE, filled
from tests.docker.promql import service_families
from tests.paths import ROOT
from tests.processes import free_port
from tests.serving.service.cases import TOKEN, Running, files, png, serving, wait_until, write_model

FOLDER = ROOT / "docker" / "prometheus"
DEADLINE_SECONDS = 120

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="no prometheus: apt-get install prometheus"
    ),
]


class Prometheus:
    """One that listens on loopback, and its answers."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, path: str, **options: str) -> Any:
        """The data of an answer; None while there is no answer."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(options)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except (urllib.error.URLError, ConnectionError):
            return None

    def numbers(self, query: str) -> list[float]:
        """The values of a query now."""
        found = self.ask("query", query=query)
        return [float(each["value"][1]) for each in found["result"]] if found else []


@contextlib.contextmanager
def scraping(folder: Path, address: str) -> Iterator[Prometheus]:
    """Prometheus with the project's settings but for shorter intervals, and one service to scrape."""
    settings = (FOLDER / "prometheus.yaml").read_text()
    settings, count = re.subn(r"(scrape|evaluation)_interval: \w+", r"\1_interval: 1s", settings)
    assert count == 2
    (folder / "prometheus.yaml").write_text(settings)
    for rules in yaml.safe_load(settings)["rule_files"]:
        shutil.copy(FOLDER / rules, folder)
    (folder / "services").mkdir()
    (folder / "services" / "token").write_text(TOKEN + "\n")
    (folder / "services" / "mine.json").write_text(json.dumps([{"targets": [address]}]))
    port = free_port()
    words = ["prometheus", f"--config.file={folder / 'prometheus.yaml'}"]
    words += [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "log").open("wb") as log, subprocess.Popen(words, stdout=log, stderr=log) as process:
        try:
            yield Prometheus(port)
        finally:
            process.terminate()


def use(service: Running) -> None:
    """Requests of each kind: answered, refused, and changes of the gallery."""
    client = service.client
    assert client.post("/gallery/anna", files=files(png(1), png(2))).status_code in (200, 201)
    assert client.delete("/gallery/anna").status_code == 200
    assert client.post("/gallery/berta", files=files(png(3))).status_code in (200, 201)
    assert client.post("/search", files=files(png(3))).json()["name"] == "berta"
    assert client.post("/verify", files=files(png(1), png(1))).status_code == 200
    assert service.embed(png(1)).status_code == 200
    assert service.embed(b"no image").status_code == 422


def test_panels_and_alerts_have_what_a_running_service_gives_and_see_it_die(tmp_path):
    model = write_model(tmp_path / "small.onnx")
    token = tmp_path / "token"
    token.write_text(TOKEN)
    options = ("--gallery", tmp_path / "people", "--token-file", token)
    with serving(model, *options, token=TOKEN) as service:
        instance = f"127.0.0.1:{service.port}"
        with scraping(tmp_path, instance) as prometheus:

            def is_shown() -> bool:
                use(service)
                values = {title: prometheus.numbers(filled(query)) for title, query in SERVE.queries}
                return values["Ready"] == [1] and all(each and each[0] >= 0 for each in values.values())

            assert wait_until(is_shown, seconds=DEADLINE_SECONDS), (tmp_path / "log").read_text()

            names = set(prometheus.ask("label/__name__/values", **{"match[]": '{job="partialfc-serve"}'}))
            exported = {name for name in names if name.startswith("partialfc_")}
            assert exported == {name for each in service_families() for name in each.sample_names()}
            text = (FOLDER / "serve_rules.yaml").read_text()
            assert set(re.findall(r"\bpartialfc_\w+", text)) <= exported
            up = 'up{job="partialfc-serve"}'
            assert wait_until(lambda: prometheus.numbers(up) == [1], seconds=DEADLINE_SECONDS)
            assert wait_until(lambda: prometheus.numbers("ALERTS") == [], seconds=DEADLINE_SECONDS)

            service.process.kill()
            dying = f'ALERTS{{alertname="PartialfcServeDown", instance="{instance}"}}'
            assert wait_until(lambda: prometheus.numbers(dying) == [1], seconds=DEADLINE_SECONDS)
            ready = next(query for title, query in SERVE.queries if title == "Ready")
            assert wait_until(lambda: prometheus.numbers(filled(ready)) == [0], seconds=DEADLINE_SECONDS)
