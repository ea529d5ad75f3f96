"""The service's image is built and run, ends when it is told to, and keeps its gallery: make integration."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.integration.image_build import SERVE_IMAGE, Buildah, build_serve, missing
from tests.processes import free_port
from tests.serving.service.cases import TOKEN, files, png, wait_until, write_model

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]

DEADLINE = 120  # seconds for a start
UID = 10001


@pytest.fixture(scope="module")
def image(buildah: Buildah) -> dict[str, Any]:
    """What the image tells a container engine."""
    build_serve(buildah)
    return json.loads(buildah("inspect", "--type", "image", SERVE_IMAGE))["Docker"]["config"]


class Container:
    """The image with a model in /models and a volume for /gallery, which its user owns."""

    def __init__(self, buildah: Buildah, image: dict[str, Any]) -> None:
        self._buildah, self._image = buildah, image
        self.models, self.gallery = buildah.folder / "models", buildah.folder / "gallery"
        for folder in (self.models, self.gallery):
            folder.mkdir()
        os.chown(self.gallery, UID, UID)
        write_model(self.models / "small.onnx")
        self._name = buildah("from", "--pull-never", SERVE_IMAGE)

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(*words, **variables),
            env=self._buildah.environment,
            capture_output=True,
            text=True,
        )

    @contextlib.contextmanager
    def serving(self, *options: str) -> Iterator[httpx.Client]:
        """The entrypoint with options, once it is healthy: a client of it. At the end it gets SIGTERM."""
        port = free_port()
        pid = self.gallery / "pid"
        words = ("sh", "-c", 'echo $$ >/gallery/pid; exec "$@"', "sh", *self._image["Entrypoint"], *options)
        process = subprocess.Popen(
            self._command(*words, "--port", str(port), PARTIALFC_TOKEN=TOKEN),
            env=self._buildah.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        headers = {"Authorization": f"Bearer {TOKEN}"}
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60)
        with process, client:
            try:
                assert wait_until(lambda: self.healthy(port) or process.poll() is not None, seconds=DEADLINE)
                assert process.poll() is None, process.communicate()
                yield client
                os.kill(int(pid.read_text()), signal.SIGTERM)
                assert process.wait(DEADLINE) == 0, process.communicate()
            finally:
                process.kill()

    def healthy(self, port: int) -> bool:
        """The healthcheck as a container engine runs it."""
        test = self._image["Healthcheck"]["Test"]
        assert test[0] == "CMD"
        return self.run(*test[1:], PORT=str(port)).returncode == 0

    def _command(self, *words: str, **variables: str) -> list[str]:
        return self._buildah.command(
            *("run", "--hostname", "localhost"),
            *("--volume", f"{self.models}:/models:ro", "--volume", f"{self.gallery}:/gallery"),
            *(word for name, value in variables.items() for word in ("--env", f"{name}={value}")),
            *(self._name, "--", *words),
        )


@pytest.fixture(scope="module")
def container(buildah: Buildah, image: dict[str, Any]) -> Container:
    return Container(buildah, image)


def test_image_tells_how_to_run_it(
    image: dict[str, Any], buildah: Buildah, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print("\n" + buildah("images", "--format", "{{.Name}}:{{.Tag}} {{.Size}}"))
    assert image["User"] == f"{UID}:{UID}"
    assert image["StopSignal"] == "SIGTERM"
    assert image["Entrypoint"] == ["partialfc", "serve", "--host", "0.0.0.0"]
    assert image["ExposedPorts"] == {"8000/tcp": {}}


def test_image_has_onnxruntime_and_no_torch_and_its_user_is_not_root(container: Container) -> None:
    find = "from importlib.util import find_spec as f; print(bool(f('torch')), bool(f('onnxruntime')))"
    assert container.run("python", "-c", find).stdout == "False True\n"
    assert container.run("id", "-u").stdout == f"{UID}\n"
    assert container.run("touch", "/opt/venv/new").returncode != 0
    assert container.run("touch", "/gallery/new").returncode == 0


def test_without_a_token_it_does_not_start(container: Container, image: dict[str, Any]) -> None:
    done = container.run(*image["Entrypoint"], "/models/small.onnx")
    assert done.returncode == 1
    assert "--host is 0.0.0.0, which other machines reach, and there is no token" in done.stderr


def test_it_embeds_and_keeps_its_gallery_over_a_restart(container: Container) -> None:
    for start in range(2):
        with container.serving("/models/small.onnx", "--gallery", "/gallery") as client:
            assert client.get("/card", headers={"Authorization": ""}).status_code == 401
            answer = client.post("/embed", files=files(png(1)))
            assert len(answer.json()["embeddings"]) == 1
            if start == 0:
                assert client.post("/gallery/anna", files=files(png(1), png(2))).status_code == 201
            assert client.post("/search", files=files(png(1))).json()["name"] == "anna"
