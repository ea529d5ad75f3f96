"""The compose files, without running them, for which a daemon would be needed."""

import inspect
import json
import os
import re
import shutil
import subprocess
from pathlib import PurePosixPath
from typing import Any

import pytest
import yaml

from partialfc.cli.serve import serve
from partialfc.serving.service.limits import Limits
from tests.docker.test_image_files import SERVE, arguments
from tests.paths import ROOT

DOCKER = ROOT / "docker"
BASE, SERVICE = "compose.yaml", "compose.serve.yaml"
BOTH = (BASE, SERVICE)
PROMETHEUS = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yaml").read_text())
JOBS = {each["job_name"]: each for each in PROMETHEUS["scrape_configs"]}
GIVEN = {"MODEL": "/home/me/model.onnx", "TOKEN_FILE": "/home/me/token"}  # that have no default


def compose(*files: str) -> dict[str, Any]:
    """The files as one, as Compose joins them: lists grow, tables are joined."""
    joined: dict[str, Any] = {}
    for file in files:
        _join(joined, yaml.safe_load((DOCKER / file).read_text()))
    return joined


def _join(into: dict[str, Any], more: dict[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(into.get(key), dict) and isinstance(value, dict):
            _join(into[key], value)
        elif isinstance(into.get(key), list) and isinstance(value, list):
            into[key] = into[key] + value
        else:
            into[key] = value


def default(text: str) -> str:
    """With variables replaced by their defaults, and those without one by what GIVEN has."""
    return re.sub(r"\$\{(\w+)(?::-([^}]*)|:\?[^}]*)\}", lambda found: found[2] or GIVEN[found[1]], text)


def mounts(service: str, *files: str) -> dict[str, str]:
    """Where a service sees what: target -> source."""
    joined = compose(*files)
    found = {}
    for mount in joined["services"][service].get("volumes", []):
        if isinstance(mount, dict):
            found[mount["target"]] = default(mount["source"])
        else:
            source, target, *_ = default(mount).split(":")
            found[target] = source
    for secret in joined["services"][service].get("secrets", []):
        name, target = (secret, f"/run/secrets/{secret}") if isinstance(secret, str) else secret.values()
        found[target] = default(joined["secrets"][name]["file"])
    return found


@pytest.mark.parametrize("files", [(BASE,), BOTH], ids=["alone", "with-the-service"])
def test_compose_mounts_what_exists(files: tuple[str, ...]) -> None:
    joined = compose(*files)
    for service in joined["services"]:
        for source in mounts(service, *files).values():
            there = source in joined["volumes"] or source in GIVEN.values()
            assert there or (source.startswith("./") and (DOCKER / source).exists()), source


def test_prometheus_finds_its_settings_and_its_rules() -> None:
    (config,) = [target for target in mounts("prometheus", BASE) if target.endswith("prometheus.yaml")]
    assert f"--config.file={config}" in compose(BASE)["services"]["prometheus"]["command"]
    for rules in PROMETHEUS["rule_files"]:
        assert str(PurePosixPath(config).parent / rules) in mounts("prometheus", BASE)


@pytest.mark.parametrize("service", ["trainer", "trainer-gpu"])
def test_prometheus_reads_the_targets_that_the_trainer_writes(service: str) -> None:
    (files,) = JOBS["partialfc"]["file_sd_configs"][0]["files"]
    written = PurePosixPath(compose(BASE)["services"][service]["environment"]["TARGETS"])
    read = PurePosixPath("/etc/prometheus") / files
    assert PurePosixPath(written.name).match(read.name)
    assert mounts("prometheus", BASE)[str(read.parent)] == mounts(service, BASE)[str(written.parent)]
    # A volume takes its owner from the image of the first container that may fill it: the trainer's.
    (shared,) = [m for m in compose(BASE)["services"]["prometheus"]["volumes"] if isinstance(m, dict)]
    assert shared["volume"]["nocopy"]


def test_prometheus_scrapes_the_service_with_its_token() -> None:
    job = JOBS["partialfc-serve"]
    seen = mounts("prometheus", *BOTH)
    folder = PurePosixPath("/etc/prometheus")
    (files,) = job["file_sd_configs"][0]["files"]
    (listed,) = [
        source for target, source in seen.items() if PurePosixPath(target).match(str(folder / files))
    ]
    port = inspect.signature(serve).parameters["port"].default
    assert json.loads((DOCKER / listed).read_text()) == [{"targets": [f"serve:{port}"]}]
    token = seen[str(folder / job["authorization"]["credentials_file"])]
    command = compose(*BOTH)["services"]["serve"]["command"]
    assert mounts("serve", *BOTH)[command[command.index("--token-file") + 1]] == token == GIVEN["TOKEN_FILE"]
    assert not any("services" in target or "secrets" in target for target in mounts("prometheus", BASE))


def test_the_service_is_started_with_what_it_finds_and_writes_to_its_gallery_alone() -> None:
    service = compose(*BOTH)["services"]["serve"]
    model, *rest = service["command"]
    options = dict(zip(rest[::2], rest[1::2], strict=True))
    known = {each.removeprefix("--").replace("-", "_") for each in options}
    assert known <= inspect.signature(serve).parameters.keys()
    seen = mounts("serve", *BOTH)
    assert seen[model] == GIVEN["MODEL"]
    assert seen[options["--gallery"]] in compose(*BOTH)["volumes"]
    assert re.search(rf" /models {options['--gallery']}$", arguments("RUN", SERVE)[-1])  # its user's there
    (bound,) = [mount for mount in service["volumes"] if isinstance(mount, dict)]
    assert bound["read_only"]
    assert not bound["bind"]["create_host_path"]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert int(service["stop_grace_period"].removesuffix("s")) > Limits().longest_seconds
    assert "healthcheck" not in service  # the image's own
    assert arguments("HEALTHCHECK", SERVE)
    assert f"{DOCKER.name}/{SERVE}" == service["build"]["dockerfile"]
    assert service["build"]["args"].keys() <= {each.split("=")[0] for each in arguments("ARG", SERVE)}
    assert default(service["build"]["args"]["RUNTIME"]) in [
        each.removeprefix("RUNTIME=") for each in arguments("ARG", SERVE)
    ]


def test_grafana_finds_its_provisioning() -> None:
    provisioning = DOCKER / "grafana" / "provisioning"
    (datasource,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())[
        "datasources"
    ]
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "partialfc.yaml").read_text())["providers"]
    assert datasource["url"] == "http://prometheus:9090"
    assert "prometheus" in compose(BASE)["services"]
    assert mounts("grafana", BASE)["/etc/grafana/provisioning"] == "./grafana/provisioning"
    assert mounts("grafana", BASE)[provider["options"]["path"]] == "./grafana/dashboards"


def test_compose_pins_images_listens_on_loopback_and_holds_no_secret() -> None:
    for name, service in compose(*BOTH)["services"].items():
        assert "build" in service or re.search(r":v?\d+\.\d+\.\d+$", service["image"]), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert not re.search(r"password|secret|token", " ".join(service.get("environment", {})), re.I), name


def docker_compose() -> list[str] | None:
    """How Compose is started here; None where it is not."""
    plugin = ["docker", "compose"]
    if shutil.which("docker") and not subprocess.run([*plugin, "version"], capture_output=True).returncode:
        return plugin
    return ["docker-compose"] if shutil.which("docker-compose") else None


@pytest.mark.skipif(
    docker_compose() is None, reason="no Docker Compose: install its plugin, or docker-compose"
)
@pytest.mark.parametrize("files", [(BASE,), BOTH], ids=["alone", "with-the-service"])
def test_compose_itself_takes_the_files_and_asks_for_what_has_no_default(files: tuple[str, ...]) -> None:
    command = [*docker_compose(), *(f"--file={DOCKER / each}" for each in files)]
    command += ["--profile", "*", "config", "--format", "json"]

    def run(variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
        cleared = {key: value for key, value in os.environ.items() if key not in GIVEN}
        return subprocess.run(command, env=cleared | variables, capture_output=True, text=True)

    done = run(GIVEN)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["services"].keys() == compose(*files)["services"].keys()
    if SERVICE in files:
        for name in GIVEN:
            refused = run({key: value for key, value in GIVEN.items() if key != name})
            assert refused.returncode != 0
            assert f"{name} is missing a value: give the absolute path of" in refused.stderr
