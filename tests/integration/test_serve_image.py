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


# What `docker run --read-only --cap-drop ALL --security-opt no-new-privileges` does. $1: the user; $2: the
# image's files; $3 and $4: the folders for /models and /gallery. It becomes the program, so that signals
# reach that.
ENGINE = """
user=$1 root=$2 models=$3 gallery=$4; shift 4
mount --bind "$root" "$root"
for each in dev proc sys; do mount --rbind "/$each" "$root/$each"; done
mount --bind "$models" "$root/models"
mount -o remount,bind,ro "$root/models"
mount --bind "$gallery" "$root/gallery"
mount -o remount,bind,ro "$root"
exec chroot "$root" setpriv --reuid "$user" --regid "$user" --clear-groups --bounding-set=-all \\
    --no-new-privs "$@"
"""


class Container:
    """The image's files, read-only, with a model in /models and its user's own volume for /gallery."""

    def __init__(self, buildah: Buildah, image: dict[str, Any]) -> None:
        self._image = image
        self.models, self.gallery = buildah.folder / "models", buildah.folder / "gallery"
        for folder in (self.models, self.gallery):
            folder.mkdir()
        os.chown(self.gallery, UID, UID)
        write_model(self.models / "small.onnx")
        (self.models / "token").write_text(TOKEN + "\n")
        self._root = buildah("mount", buildah("from", "--pull-never", SERVE_IMAGE))

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        with self._start(*words, **variables) as process:
            out, err = process.communicate(timeout=DEADLINE)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    @contextlib.contextmanager
    def serving(self, *options: str) -> Iterator[httpx.Client]:
        """The entrypoint with options, once it is healthy: a client of it. At the end it gets SIGTERM."""
        port = free_port()
        headers = {"Authorization": f"Bearer {TOKEN}"}
        with (
            self._start(*self._image["Entrypoint"], *options, "--port", str(port)) as process,
            httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as client,
        ):
            try:
                assert wait_until(lambda: self.healthy(port) or process.poll() is not None, seconds=DEADLINE)
                assert process.poll() is None, process.communicate()
                yield client
                process.send_signal(signal.SIGTERM)
                out, err = process.communicate(timeout=DEADLINE)
                assert (process.returncode, err) == (0, ""), out
            finally:
                process.kill()

    def healthy(self, port: int) -> bool:
        """The healthcheck as a container engine runs it."""
        test = self._image["Healthcheck"]["Test"]
        assert test[0] == "CMD"
        return self.run(*test[1:], PORT=str(port)).returncode == 0

    def _start(self, *words: str, **variables: str) -> subprocess.Popen[str]:
        user, _ = self._image["User"].split(":")
        environment = dict(each.split("=", 1) for each in self._image["Env"]) | variables
        command = ["/usr/bin/unshare", "--mount", "sh", "-euc", ENGINE, "sh", user, self._root]
        return subprocess.Popen(
            [*command, str(self.models), str(self.gallery), *words],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
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


def test_image_has_onnxruntime_and_no_torch(container: Container) -> None:
    find = "from importlib.util import find_spec as f; print(bool(f('torch')), bool(f('onnxruntime')))"
    assert container.run("python", "-c", find).stdout == "False True\n"


def test_its_user_is_not_root_and_writes_to_the_gallery_alone(container: Container) -> None:
    assert container.run("id", "-u").stdout == f"{UID}\n"
    for path in ("/opt/venv/new", "/models/new", "/tmp/new", "/home/partialfc/new"):
        refused = container.run("touch", path)
        assert refused.returncode != 0
        assert "Read-only file system" in refused.stderr
    assert container.run("touch", "/gallery/new").returncode == 0
    (container.gallery / "new").unlink()
    rights = container.run("grep", "-E", "^(Cap|NoNewPrivs)", "/proc/self/status").stdout.split()
    assert rights[1::2] == ["0" * 16] * 5 + ["1"]


def test_without_a_token_it_does_not_start(container: Container, image: dict[str, Any]) -> None:
    done = container.run(*image["Entrypoint"], "/models/small.onnx")
    assert done.returncode == 1
    assert "--host is 0.0.0.0, which other machines reach, and there is no token" in done.stderr


def test_it_embeds_and_keeps_its_gallery_over_a_restart(container: Container) -> None:
    options = ("--gallery", "/gallery", "--token-file", "/models/token")
    for start in range(2):
        with container.serving("/models/small.onnx", *options) as client:
            assert client.get("/readyz", headers={"Authorization": ""}).json() == {"status": "ready"}
            assert client.get("/card", headers={"Authorization": ""}).status_code == 401
            answer = client.post("/embed", files=files(png(1)))
            assert len(answer.json()["embeddings"]) == 1
            if start == 0:
                assert client.post("/gallery/anna", files=files(png(1), png(2))).status_code == 201
            assert client.post("/search", files=files(png(1))).json()["name"] == "anna"
            metrics = client.get("/metrics").text.splitlines()
            assert "partialfc_serve_ready 1.0" in metrics
            assert "partialfc_serve_gallery_embeddings 2.0" in metrics
