"""The images' recipes, without building: tests/integration builds and runs them."""

import inspect
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from partialfc.cli.serve import serve
from partialfc.metrics.server import Server
from partialfc.serving.service.gate import PROBES
from tests.paths import ROOT

DOCKER = ROOT / "docker"
ENTRYPOINT = DOCKER / "entrypoint.sh"
SERVE = "serve/Dockerfile"
BIN = Path(sys.executable).parent
ENVIRONMENT = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}


def instructions(file: str = "Dockerfile") -> list[tuple[str, str]]:
    """A Dockerfile's (instruction, arguments), comments left out and continued lines joined."""
    lines = [line for line in (DOCKER / file).read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line.strip()]


def arguments(instruction: str, file: str = "Dockerfile") -> list[str]:
    return [rest for name, rest in instructions(file) if name == instruction]


@pytest.mark.parametrize(
    "command",
    [
        ["hadolint", "Dockerfile"],
        ["hadolint", SERVE],
        ["shellcheck", "--severity", "style", "entrypoint.sh"],
    ],
    ids=["hadolint", "hadolint-serve", "shellcheck"],
)
def test_linters_are_silent(command: list[str]) -> None:
    done = subprocess.run(command, cwd=DOCKER, env=ENVIRONMENT, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("extras", "cuda", "installed"),
    [
        ("", "13.0", "plot,glyphs"),
        ("dali", "13.0", "plot,glyphs,dali-cuda13"),
        ("dali", "12.9", "plot,glyphs,dali-cuda12"),
        ("dali", None, "plot,glyphs,dali-cuda12"),  # a torch for CPUs
        ("tensorboard,dali", "13.2", "plot,glyphs,tensorboard,dali-cuda13"),
        ("dali-cuda12", "13.0", "plot,glyphs,dali-cuda12"),
        ("tensorboard", "13.0", "plot,glyphs,tensorboard"),
    ],
)
def test_the_image_gets_the_dali_of_its_torch(
    tmp_path: Path, extras: str, cuda: str | None, installed: str
) -> None:
    """The lines of the Dockerfile that choose it, with a torch that says it is built for that CUDA."""
    (step,) = [rest for rest in arguments("RUN") if "EXTRAS" in rest]
    chosen = [part for part in step.split("&&") if re.match(r"\s*(cuda|extras)=", part)]
    (brackets,) = re.findall(r'"\$\{wheel\}\[(.*?)\]"', step)
    (tmp_path / "torch.py").write_text(f"class version:\n    cuda = {cuda!r}\n")
    script = " && ".join([*chosen, f'echo "{brackets}"']).replace("/opt/venv/bin/python", sys.executable)
    done = subprocess.run(
        ["sh", "-c", script],
        env=ENVIRONMENT | {"EXTRAS": extras, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{installed}\n"


def test_user_is_a_number_and_the_one_of_kubernetes() -> None:
    """Kubernetes can tell a number from root, a name it cannot."""
    ((user, group),) = (each.split(":") for each in arguments("USER"))
    assert arguments("USER", SERVE) == arguments("USER")
    assert user.isdigit()
    assert int(user) > 0
    manifests = "".join(path.read_text() for path in sorted((ROOT / "launch" / "kubernetes").glob("*.yaml")))
    assert set(re.findall(r"runAsUser: (\d+)", manifests)) == {user}
    assert set(re.findall(r"(?:runAsGroup|fsGroup): (\d+)", manifests)) == {group}


def health(port: int) -> subprocess.CompletedProcess[str]:
    """The healthcheck as the container engine would run it."""
    (check,) = arguments("HEALTHCHECK")
    return subprocess.run(
        json.loads(check.split("CMD", 1)[1]),
        env=ENVIRONMENT | {"METRICS_PORT": str(port)},
        capture_output=True,
        text=True,
    )


def test_healthcheck_follows_the_metrics_server() -> None:
    with Server(CollectorRegistry(), port=0) as server:
        port = server.port
        assert port is not None
        assert health(port).returncode == 0
    assert health(port).returncode == 1


def test_metrics_port_is_the_configs_default() -> None:
    from partialfc.config.metrics import MetricsConfig

    (environment,) = arguments("ENV")
    variables = dict(pair.split("=", 1) for pair in shlex.split(environment))
    assert [variables["METRICS_PORT"]] == arguments("EXPOSE") == [str(MetricsConfig().port)]


def test_the_service_is_probed_at_its_own_port_by_a_route_that_needs_no_token() -> None:
    (check,) = arguments("HEALTHCHECK", SERVE)
    assert re.findall(r"\}(/\w+)'", check) == ["/readyz"]
    assert "/readyz" in PROBES
    (environment,) = arguments("ENV", SERVE)
    variables = dict(pair.split("=", 1) for pair in shlex.split(environment))
    port = inspect.signature(serve).parameters["port"].default
    assert [variables["PORT"]] == arguments("EXPOSE", SERVE) == [str(port)]


def entrypoint(*words: str) -> str:
    done = subprocess.run(
        [ENTRYPOINT, *words], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_entrypoint_takes_commands_of_partialfc_and_programs() -> None:
    resolved = yaml.safe_load(entrypoint("config", "configs/quickstart.yaml"))
    assert resolved["run"]["dir"] == "runs/quickstart"
    assert entrypoint("python", "-c", "print('ran')") == "ran\n"
    assert entrypoint("/bin/echo", "two  words") == "two  words\n"


def test_entrypoint_lets_signals_reach_the_program() -> None:
    script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done"
    with subprocess.Popen([ENTRYPOINT, "sh", "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 7
