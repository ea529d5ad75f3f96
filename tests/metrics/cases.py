"""Servers and samples for the tests of the metrics."""

import json
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from partialfc.metrics import Registry
from tests.processes import free_port

DEADLINE_SECONDS = 60.0
RANK = ("rank=0", "run=mine")
Found = TypeVar("Found")


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def wait_for(ask: Callable[[], Found | None]) -> Found:
    """The first answer that is not None and raises no OSError."""
    end = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            found = ask()
        except OSError:
            found = None
        if found is not None:
            return found
        assert time.monotonic() < end, "no answer"
        time.sleep(0.05)


def samples(text: str) -> dict[tuple[str, ...], float]:
    """The exposition format: {(name, "label=value" in the labels' order, ...): value}."""
    return {
        (sample.name, *(f"{k}={v}" for k, v in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def text_of(registry: Registry) -> str:
    collectors = CollectorRegistry()
    collectors.register(registry)
    return generate_latest(collectors).decode()


def sum_of(found: dict[tuple[str, ...], float], name: str) -> float:
    return sum(value for key, value in found.items() if key[0] == name)


@contextmanager
def server(*command: object) -> Iterator[None]:
    process = subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@contextmanager
def prometheus(folder: Path, targets: Path) -> Iterator[str]:
    """The URL of Debian's Prometheus, which scrapes a targets file's targets every second."""
    port = free_port()
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [
            {
                "job_name": "partialfc",
                "file_sd_configs": [{"files": [str(targets)], "refresh_interval": "1s"}],
            }
        ],
    }
    file = folder / "prometheus.json"
    file.write_text(json.dumps(config))  # JSON is YAML
    arguments = {
        "config.file": file,
        "storage.tsdb.path": folder / "tsdb",
        "web.listen-address": f"127.0.0.1:{port}",
    }
    url = f"http://127.0.0.1:{port}"
    with server("prometheus", *(f"--{name}={value}" for name, value in arguments.items())):
        wait_for(lambda: fetch(f"{url}/-/ready"))
        yield url


def query(url: str, expression: str, *, at: float | None = None) -> dict[tuple[str, ...], float]:
    """An instant query's vector: {("label=value", ...): value}, without the labels that a scrape adds."""
    parameters = {"query": expression} | ({} if at is None else {"time": str(at)})
    answer: dict[str, Any] = json.loads(fetch(f"{url}/api/v1/query?{urllib.parse.urlencode(parameters)}"))
    added = {"__name__", "instance", "job"}
    return {
        tuple(f"{k}={v}" for k, v in sorted(result["metric"].items()) if k not in added): float(
            result["value"][1]
        )
        for result in answer["data"]["result"]
    }
