"""`make monitor` shows the dashboard of a run live."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from partialfc.checkpoint import find_checkpoint
from partialfc.config import dump_config
from partialfc.report.vendor import uplot_script, uplot_style
from tests.browser import CHARTS_FIT, Page, chromium
from tests.docker.boards import RUN, filled
from tests.paths import ROOT
from tests.processes import free_port
from tests.train_cases import small_config, write_data

PAGE = ROOT / "docker" / "monitor" / "page"
DEADLINE_SECONDS = 120

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="no prometheus: apt-get install prometheus"
)


def monitor(tmp_path: Path, *config: str, port: int, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, str(ROOT / "docker" / "monitor" / "monitor.py"), "--port", str(port)),
            *("--scrape", "1s", "--folder", str(tmp_path / "prometheus"), *config),
        ],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@contextlib.contextmanager
def ended_by(number: signal.Signals, process: subprocess.Popen[str]) -> Iterator[None]:
    """Whatever the block does, the process is asked to end and waited for."""
    try:
        yield
    finally:
        process.send_signal(number)
        process.wait(DEADLINE_SECONDS)


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def series(port: int, query: str, **at: str) -> list[dict[str, Any]]:
    url = f"http://127.0.0.1:{port}/api/v1/query?{urllib.parse.urlencode({'query': query, **at})}"
    return json.loads(get(url))["data"]["result"]


def wait_for(what: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            if found := what():
                return found
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)


def test_a_machine_without_prometheus_is_told_the_package(tmp_path):
    process = monitor(tmp_path, "configs/quickstart.yaml", port=free_port(), PATH=str(tmp_path))
    output, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 1
    assert "apt-get install prometheus" in output
    assert "Traceback" not in output


@needs_prometheus
def test_a_taken_port_is_named_with_the_remedy(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        process = monitor(tmp_path, "configs/quickstart.yaml", port=port)
        output, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 1
    assert f"port {port} on 127.0.0.1 cannot be used" in output
    assert "MONITOR_PORT=" in output


@pytest.mark.parametrize(("port", "message"), [("0", "give a free port"), ("70000", "is no port")])
def test_a_port_that_is_none_is_refused(tmp_path, port, message):
    process = monitor(tmp_path, "configs/quickstart.yaml", port=port)
    output, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 2
    assert message in output


@needs_prometheus
@pytest.mark.slow
def test_a_run_that_fails_gives_its_status_and_stops_prometheus(tmp_path):
    port = free_port()
    process = monitor(tmp_path, "--processes", "1", str(tmp_path / "none.yaml"), port=port)
    output, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 1
    assert "cannot read the config" in output
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


@needs_prometheus
@pytest.mark.slow
def test_the_page_shows_a_run_while_it_trains(tmp_path):
    write_data(tmp_path)
    stages = "stages=[{from_step: 5, head.sample_rate: 1.0}]"
    config = small_config(tmp_path, "train.steps=1000000", "checkpoint.every_steps=20", stages)
    (tmp_path / "run.yaml").write_text(dump_config(config))
    port = free_port()
    process = monitor(tmp_path, str(tmp_path / "run.yaml"), port=port)
    with ended_by(signal.SIGTERM, process):  # that is the second signal, which changes nothing
        address = f"http://127.0.0.1:{port}/user/"
        page = wait_for(lambda: get(address), process).decode()
        assert '<main id="panels">' in page
        for file in PAGE.iterdir():
            assert get(address + ("" if file.name == "index.html" else file.name)) == file.read_bytes()
        assert get(f"{address}uPlot.iife.min.js").decode() == uplot_script()
        assert get(f"{address}uPlot.min.css").decode() == uplot_style()
        assert json.loads(get(f"{address}dashboard.json")) == RUN.json

        # no GPU, no verification set, no loss beside the head's
        absent = re.compile(r"partialfc_gpu_|partialfc_verification_|partialfc_loss_term")
        for title, query in RUN.queries:
            if not absent.search(query):
                found = wait_for(lambda query=query: series(port, filled(query, run="run")), process)
                assert found, title
        running = "count(partialfc_running == 1)"
        wait_for(lambda: [each["value"][1] for each in series(port, running)] == ["2"], process)
        look(address, port, tmp_path)
        assert 30 < seconds_to_save(process) <= 60
        process.send_signal(signal.SIGINT)
        assert any(line.startswith("stopping") for line in process.stdout)
    assert process.returncode == 0, process.stdout.read()
    assert find_checkpoint(tmp_path / "run").is_dir()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def seconds_to_save(process: subprocess.Popen[str]) -> int:
    """How long the torchrun that the monitor has started lets ranks save before it kills them."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    variables = "".join(Path(f"/proc/{child}/environ").read_text() for child in children)
    (seconds,) = re.findall(r"\0TORCH_ELASTIC_SHUTDOWN_TIMEOUT=(\d+)\0", variables)
    return int(seconds)


def look(address: str, port: int, folder: Path) -> None:
    """In a browser: every panel draws what Prometheus has, on a phone as on a desk, and asks nobody else."""
    if shutil.which("chromium") is None:
        warnings.warn("no chromium: nobody has looked at the page", stacklevel=2)
        return
    with chromium(folder / "browser") as browser:
        page = browser.open(address, width=1200)
        never = {"Accuracy", "Verification accuracy", "True accepts at a false accept rate"}
        not_yet = {panel["title"] for panel in RUN.panels if "interval" in panel}  # at half minutes only
        drawn = json.dumps([panel["title"] for panel in RUN.panels if panel["title"] not in never | not_yet])
        page.wait_for(f"""((states) => {drawn}.every((title) => states[title] === 'drawn')
            && Object.values(states).every((each) => ['drawn', 'empty'].includes(each)))({STATES})
            && document.getElementById('status').dataset.state === 'live'""")
        states = page.evaluate(STATES)
        assert states.keys() == {panel["title"] for panel in RUN.panels}
        assert {title for title, state in states.items() if state == "empty"} >= never
        for dark in (False, True):
            page.theme(dark=dark)
            page.wait_for(f"Object.values({COLOURED}).every((pixels) => pixels > 20)")
        for width in (420, 360):
            page.resize(width)
            page.wait_for(CHARTS_FIT)
            assert page.overflowing() == []
        compare(page, port)
        for asked, seconds in (("600", "600"), ("nonsense", "900"), ("1e99", str(366 * 86400))):
            page = browser.open(f"{address}?run=run&range={asked}")
            page.wait_for("document.getElementById('status').dataset.state === 'live'")
            assert page.evaluate("document.getElementById('range').value") == seconds
        page = browser.open(f"{address}?run=other&range=600")
        page.wait_for(
            "document.getElementById('status').textContent.startsWith('no run other in the last 10 min')"
        )
        options = page.evaluate("[...document.getElementById('run').options].map((each) => each.value)")
        assert options == ["run", "other"]
        assert page.complaints == []
        assert {urllib.parse.urlsplit(each).netloc for each in page.requests} == {f"127.0.0.1:{port}"}


STATES = """Object.fromEntries([...document.querySelectorAll('.panel')].map(({ dataset }) =>
    [dataset.title, dataset.state]))"""
# How many pixels of each drawn chart have about a colour that its legend shows.
COLOURED = """Object.fromEntries(
    [...document.querySelectorAll('.panel.timeseries[data-state=drawn]')].map((root) => {
        const canvas = root.querySelector('canvas');
        const colours = [...root.querySelectorAll('.legend i')].map((each) =>
            getComputedStyle(each).backgroundColor.match(/\\d+/g).map(Number));
        const { width, height } = canvas;
        const copy = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
        copy.drawImage(canvas, 0, 0);
        const { data } = copy.getImageData(0, 0, width, height);
        const near = (at) => (colour) => colour.every((part, i) => Math.abs(part - data[at + i]) < 24);
        let count = 0;
        for (let at = 0; at < data.length; at += 4) count += data[at + 3] > 150 && colours.some(near(at));
        return [root.dataset.title, count];
    }))"""


# The page asks and draws anew after a pause that it now does not end; `still` once the last time is over.
STAND_STILL = """(() => {
    const later = window.setTimeout;
    window.setTimeout = (call, pause, ...more) => {
        if (!(pause >= 1000)) return later(call, pause, ...more);
        window.still = true;
        return 0;
    };
})()"""


def compare(page: Page, port: int) -> None:
    """The first moment, reached by keyboard, has the values that Prometheus has for it; Escape leaves it."""
    page.evaluate(STAND_STILL)
    page.wait_for("window.still")
    panel = "document.querySelector('[data-title=\"Norms\"]')"
    page.evaluate(f"{panel}.querySelector('.plot').focus()")
    page.press("Home")
    moment = page.evaluate(f"{panel}.querySelector('time').dateTime")
    texts = page.evaluate(f"[...{panel}.querySelectorAll('.legend span')].map((each) => each.textContent)")
    shown = dict(text.split() for text in texts)
    (norms,) = (each for each in RUN.panels if each["title"] == "Norms")
    for target in norms["targets"]:
        (found,) = series(port, filled(target["expr"], run="run"), time=moment)
        assert float(shown[target["legendFormat"]]) == pytest.approx(float(found["value"][1]), rel=0.01)
    others = "[...document.querySelectorAll('[data-state=drawn] time')].map((each) => each.dateTime)"
    assert "" not in page.evaluate(others)
    page.press("Escape")
    assert set(page.evaluate(others)) == {""}
