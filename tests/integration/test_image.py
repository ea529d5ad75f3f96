"""The image is built; the quickstart runs inside it, is stopped and goes on: make integration."""

import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from typing import Any

import pytest

from tests.integration.image_build import IMAGE, Buildah, build, missing
from tests.processes import free_port

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]

DEADLINE = 600  # seconds for a run to get somewhere
UID = 10001


@pytest.fixture(scope="module")
def image(buildah: Buildah) -> dict[str, Any]:
    """What the image tells a container engine."""
    build(buildah)
    return json.loads(buildah("inspect", "--type", "image", IMAGE))["Docker"]["config"]


class Container:
    """Runs commands in one container, with volumes for /data and /runs that its user owns."""

    def __init__(self, buildah: Buildah, entrypoint: list[str]) -> None:
        self.data, self.runs = buildah.folder / "data", buildah.folder / "runs"
        for folder in (self.data, self.runs):
            folder.mkdir()
            os.chown(folder, UID, UID)
        self._buildah, self._entrypoint = buildah, entrypoint
        self._name = buildah("from", "--pull-never", IMAGE)

    def command(self, *words: str, variables: dict[str, str]) -> list[str]:
        return self._buildah.command(
            "run",
            # The name that buildah would give is in no /etc/hosts; container engines write one.
            *("--hostname", "localhost"),
            *("--volume", f"{self.data}:/data", "--volume", f"{self.runs}:/runs"),
            *(word for name, value in variables.items() for word in ("--env", f"{name}={value}")),
            *(self._name, "--", *words),
        )

    def run(self, *words: str, **variables: str) -> str:
        """The output of a program that must succeed."""
        done = self.attempt(*words, **variables)
        assert done.returncode == 0, f"{words}:\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    def attempt(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words, variables=variables),
            env=self._buildah.environment,
            capture_output=True,
            text=True,
        )

    def partialfc(self, *words: str) -> str:
        return self.run(*self._entrypoint, *words)

    def start(self, *words: str, **variables: str) -> subprocess.Popen[str]:
        """Begins the image's entrypoint, which writes its process id into /runs/pid."""
        return subprocess.Popen(
            self.command(
                *("sh", "-c", 'echo $$ >/runs/pid; exec "$@"', "sh", *self._entrypoint, *words),
                variables=variables,
            ),
            env=self._buildah.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def signal(self, number: signal.Signals) -> None:
        """To the process that a container engine would signal: chroot isolation shares our process ids."""
        os.kill(int((self.runs / "pid").read_text()), number)


@pytest.fixture(scope="module")
def container(buildah: Buildah, image: dict[str, Any]) -> Container:
    return Container(buildah, image["Entrypoint"])


def test_image_tells_how_to_run_it(
    image: dict[str, Any], buildah: Buildah, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print("\n" + buildah("images", "--format", "{{.Name}}:{{.Tag}} {{.Size}}"))
    assert image["User"] == f"{UID}:{UID}"
    assert image["StopSignal"] == "SIGTERM"
    assert image["Healthcheck"]["Test"][0] == "CMD"
    assert image["Labels"]["org.opencontainers.image.title"] == "partialfc"
    assert image["Cmd"] == ["--help"]


def test_user_is_not_root_and_writes_only_where_it_may(container: Container) -> None:
    assert container.run("id", "-u") == str(UID)
    assert container.attempt("touch", "/opt/venv/new", "/configs/new").returncode != 0
    container.run("sh", "-c", 'touch "$HOME/new" /targets/new /data/new /runs/new /tmp/new')


def test_image_holds_the_package_and_not_its_sources(container: Container) -> None:
    place = container.run("python", "-c", "import partialfc; print(partialfc.__file__)")
    assert place.startswith("/opt/venv/lib/")
    assert container.run("ls", "/").split().count("build") == 0
    assert "Usage: partialfc" in container.partialfc("--help")


def test_torch_compile_finds_its_compiler(container: Container) -> None:
    script = "import torch; f = torch.compile(lambda x: x.sin() + 1); print(f(torch.zeros(8)).sum().item())"
    assert container.run("python", "-c", script) == "8.0"


def wait_for(process: subprocess.Popen[str], done: Any) -> None:
    """Until done() is true; a process that ends before is an error that shows what it said."""
    limit = time.monotonic() + DEADLINE
    while not done():
        if process.poll() is not None:
            pytest.fail(process.communicate()[0])
        assert time.monotonic() < limit
        time.sleep(0.5)


def test_quickstart_runs_is_stopped_and_goes_on(container: Container, image: dict[str, Any]) -> None:
    container.partialfc("data", "glyphs", "data/glyphs")
    port = free_port()
    train = [
        *("/launch/torchrun.sh", "configs/quickstart.yaml", f"metrics.port={port}", "train.steps=40"),
        *("schedule.warmup_steps=10", "train.log_every=5", "checkpoint.every_steps=1000"),
        "verification.every_steps=1000",
    ]
    health = image["Healthcheck"]["Test"][1:]
    log = container.runs / "quickstart" / "metrics.jsonl"

    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def is_healthy() -> bool:
        return container.attempt(*health, METRICS_PORT=str(port)).returncode == 0

    first = container.start(*train, NPROC_PER_NODE="2")
    try:
        wait_for(first, is_healthy)
        metrics = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30).read().decode()
        assert "partialfc_build_info" in metrics
        wait_for(first, lambda: any(line.get("step", 0) >= 5 for line in lines()))
        container.signal(signal.SIGTERM)
        said, _ = first.communicate(timeout=DEADLINE)
    finally:
        if first.poll() is None:
            container.signal(signal.SIGTERM)
            first.wait(timeout=DEADLINE)
    print(said)
    assert first.returncode != 0
    (saved,) = (container.runs / "quickstart" / "checkpoints").glob("step-*")
    assert 5 <= int(saved.name.removeprefix("step-")) < 40
    assert saved.stat().st_uid == UID
    assert not is_healthy()

    print(container.partialfc(*train))
    assert lines()[-1]["step"] == 40
    verified = container.partialfc("evaluate", "runs/quickstart", "--pairs", "data/glyphs/pairs.bin")
    assert re.match(r"12000 pairs in \w+: accuracy", verified)
