"""Starts Prometheus, a training run and a page with its curves, and stops them together: make monitor.

The page is served by Prometheus itself (--web.user-assets), so there is one port and no other server. Rules
and scrape settings are those of docker/prometheus; only the scrape interval is shorter.
"""

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType
from typing import NoReturn

DOCKER = Path(__file__).parents[1]
DASHBOARD = DOCKER / "grafana" / "dashboards" / "partialfc.json"
UPLOT = DOCKER.parent / "partialfc" / "report" / "vendor" / "uplot"  # which draws the curves
HOST = "127.0.0.1"
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # SIGHUP: the terminal was closed
READY_SECONDS = 60.0
# For the checkpoint of a run that is stopped; then torchrun kills it, that of torch 2.11 after 30.
SAVE_SECONDS = 60
END_SECONDS = SAVE_SECONDS + 10  # for torchrun to end after that


def main() -> int:
    """The exit status: that of a run that failed, 1 with one message if something cannot start, else 0."""
    options = arguments()
    page = f"http://{HOST}:{options.port}/user/"
    for number in STOP_SIGNALS:  # SIGINT too: a shell starts background jobs without it
        signal.signal(number, _interrupt)
    prometheus: subprocess.Popen[bytes] | None = None
    training: subprocess.Popen[bytes] | None = None
    try:
        check_startable(options.port)
        prepare(options.folder, options.scrape)
        prometheus = start_prometheus(options.folder, options.port)
        wait_until_ready(prometheus, options.folder, options.port)
        print(f"curves: {page} (Ctrl-C saves the run and stops all)", flush=True)
        training = start_training(options)
        while (status := training.poll()) is None:
            if prometheus.poll() is not None:
                raise SystemExit(_died(options.folder))
            time.sleep(0.2)
        if status:
            return status
        print(f"the run has finished; its curves stay at {page} until Ctrl-C", flush=True)
        prometheus.wait()
        raise SystemExit(_died(options.folder))
    except KeyboardInterrupt:
        trains = training is not None and training.poll() is None
        last = "; the run saves first (what torchrun prints now is harmless)" if trains else ""
        print(f"\nstopping{last}", flush=True)
        return 0
    finally:
        _ignore_signals()  # each stop below has an end of its own
        stop(training, END_SECONDS)
        stop(prometheus, READY_SECONDS)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=_port, required=True, help="of Prometheus and its page")
    parser.add_argument(
        "--metrics-port", type=_port, default=0, help="of rank 0; the next ranks' follow; 0: any"
    )
    parser.add_argument("--processes", type=int, default=2, help="ranks of the run")
    parser.add_argument("--scrape", default="2s", help="how often Prometheus reads the metrics")
    parser.add_argument("--folder", type=Path, required=True, help="for Prometheus's settings and data")
    parser.add_argument("config", nargs="+", help="what `partialfc train` takes: CONFIG [key=value ...]")
    options = parser.parse_args()
    if options.port == 0:
        parser.error("argument --port: 0 would leave the page's address unknown: give a free port")
    options.folder = options.folder.resolve()
    return options


def check_startable(port: int) -> None:
    """SystemExit with the reason if Prometheus is not installed or the port is taken."""
    if shutil.which("prometheus") is None:
        raise SystemExit(
            "prometheus is not on PATH: install Debian's package (apt-get install prometheus), "
            "or put the binary of prometheus.io there"
        )
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise SystemExit(
                f"port {port} on {HOST} cannot be used ({error.strerror}): free it, or choose another, "
                "such as make monitor MONITOR_PORT=9191"
            ) from None


def prepare(folder: Path, scrape: str) -> None:
    """Fills `folder` with what Prometheus reads: its settings, the rules, the page."""
    (folder / "targets").mkdir(parents=True, exist_ok=True)
    remove_targets(folder)
    settings = (DOCKER / "prometheus" / "prometheus.yaml").read_text()
    settings = re.sub(r"scrape_interval: \w+", f"scrape_interval: {scrape}", settings)
    (folder / "prometheus.yaml").write_text(settings)
    for name in ("rules.yaml", "serve_rules.yaml"):
        shutil.copy(DOCKER / "prometheus" / name, folder)
    shutil.copytree(DOCKER / "monitor" / "page", folder / "page", dirs_exist_ok=True)
    shutil.copy(DASHBOARD, folder / "page" / "dashboard.json")
    for name in ("uPlot.iife.min.js", "uPlot.min.css"):
        shutil.copy(UPLOT / name, folder / "page")


def remove_targets(folder: Path) -> None:
    for path in (folder / "targets").glob("*.json"):
        path.unlink()


def start_prometheus(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """Prometheus on HOST:port with the settings in `folder`."""
    with (folder / "prometheus.log").open("wb") as log:
        return subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yaml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={HOST}:{port}",
                f"--web.user-assets={folder / 'page'}",
            ],
            stdout=log,
            stderr=log,
            start_new_session=True,  # a Ctrl-C reaches this script alone, which stops the others in order
        )


def wait_until_ready(prometheus: subprocess.Popen[bytes], folder: Path, port: int) -> None:
    """SystemExit with the end of its log if it ends instead, or takes too long."""
    deadline = time.monotonic() + READY_SECONDS
    while not _ready(port):
        if prometheus.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(_died(folder))
        time.sleep(0.1)


def start_training(options: argparse.Namespace) -> subprocess.Popen[bytes]:
    """`partialfc train` under torchrun, reporting to the Prometheus of `options.folder`."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            f"--nproc-per-node={options.processes}",
            *("-m", "partialfc", "train", *options.config),
            f"metrics.port={options.metrics_port}",
            f"metrics.bind={HOST}",
            f"metrics.targets={options.folder / 'targets' / 'run.json'}",
        ],
        env={"OMP_NUM_THREADS": "1", **os.environ, "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(SAVE_SECONDS)},
        start_new_session=True,
    )


def stop(process: subprocess.Popen[bytes] | None, seconds: float) -> None:
    """Asks it to end, and ends its whole session if it has not after so many seconds."""
    if process is None or process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: give a number from 0 to 65535")
    return int(text)


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/-/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _died(folder: Path) -> str:
    log = folder / "prometheus.log"
    last = log.read_text(errors="replace").strip().splitlines()[-1:]
    return f"prometheus ended or does not answer; {log} ends with: {''.join(last)}"


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    _ignore_signals()
    raise KeyboardInterrupt


def _ignore_signals() -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())
