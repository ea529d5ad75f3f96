"""Servers of trackers on this machine: Trackio's own, and as much of MLflow's and wandb's as a run asks for.

`served` runs them, each in a process. A program: python -m tests.metrics.trackers.servers trackio|others
"""

import gzip
import json
import os
import re
import signal
import sqlite3
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import httpx
from torch import Tensor

from tests.processes import warm_python
from tests.train_cases import Normed

QUICK = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "1", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
Figures = list[list[float]]


@dataclass(frozen=True)
class Served:
    """environment: in which trackers send their figures there. pids: of the servers."""

    environment: dict[str, str]
    pids: list[int]
    folder: Path

    def held(self, name: str) -> dict[str, Figures]:
        """The steps and values of a figure, by the tracker whose server has them."""
        answer = httpx.get(f"{self.environment['WANDB_BASE_URL']}/held").json()
        (database,) = self.folder.glob("*.db")
        with sqlite3.connect(database) as rows:
            logs = [
                (step, json.loads(text)) for step, text in rows.execute("select step, metrics from metrics")
            ]
        trackio = [[step, figures[name]] for step, figures in logs if name in figures]
        return {"trackio": trackio, **{tracker: found.get(name, []) for tracker, found in answer.items()}}


class Leaving(Normed):
    """Stops other processes in its third training forward pass; they are there, and do nothing more.

    Their clients wait as long as in QUICK from the first pass on; a busy machine may start more slowly.
    """

    def __init__(self, *, pids: list[int], **size: Any) -> None:
        super().__init__(**size)
        self.count, self.pids = 0, pids

    def forward(self, images: Tensor) -> Tensor:
        self.count += self.training
        if self.count == 1:
            os.environ.update(QUICK)
        if self.count == 3 and self.training:
            for pid in self.pids:
                os.kill(pid, signal.SIGSTOP)
        return super().forward(images)


@contextmanager
def served(folder: Path, environment: Mapping[str, str]) -> Iterator[Served]:
    """Both servers, and the environment of a run that has them in place of files."""
    own = {**environment, "TRACKIO_DIR": str(folder / "served")}
    with ExitStack() as ending:
        addresses, pids = {}, []
        for kind in ("trackio", "others"):
            process = warm_python().start("-m", __name__, kind, env=own, stdout=-1, stderr=2, cwd=folder)
            ending.callback(process.wait)
            ending.callback(os.kill, process.pid, signal.SIGKILL)
            lines = iter(process.stdout.readline, "")
            addresses[kind] = next(line.split()[1] for line in lines if line.startswith("ADDRESS "))
            pids.append(process.pid)
        without = {name: value for name, value in environment.items() if name != "WANDB_MODE"}
        yield Served(
            without
            | {"TRACKIO_SERVER_URL": addresses["trackio"], "HF_HUB_OFFLINE": "1"}
            | {"MLFLOW_TRACKING_URI": addresses["others"], "WANDB_BASE_URL": addresses["others"]}
            | {"WANDB_API_KEY": "0" * 40, "WANDB_ERROR_REPORTING": "false"},
            pids,
            folder / "served",
        )


class Others(BaseHTTPRequestHandler):
    """MLflow's REST API, and wandb's GraphQL and file streams."""

    protocol_version = "HTTP/1.1"
    held: ClassVar[dict[str, dict[str, Figures]]] = {"mlflow": {}, "wandb": {}}

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        path = urlsplit(self.path).path
        if path == "/held":
            status, answer = 200, self.held
        elif path == "/graphql":
            status, answer = 200, {"data": self._graphql(**json.loads(body))}
        elif path.endswith("/file_stream"):
            status, answer = 200, self._file_stream(json.loads(body))
        elif "/mlflow/" in path:
            status, answer = self._mlflow(path.partition("/mlflow/")[2], body)
        else:
            status, answer = 200, {}  # an upload
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_PATCH = _answer

    def _graphql(self, query: str, variables: Mapping[str, Any] | None = None, **_: object) -> dict[str, Any]:
        if "upsertBucket" in query:
            project = {"name": "partialfc", "entity": {"name": "me"}}
            bucket = {
                "id": "1",
                "name": (variables or {}).get("name"),
                "displayName": "run",
                "project": project,
            }
            return {"upsertBucket": {"bucket": bucket, "inserted": True}}
        if "createRunFiles" in query:
            host = f"http://{self.headers['Host']}"
            files = [{"name": each, "uploadUrl": f"{host}/{each}"} for each in (variables or {})["files"]]
            return {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": files}}
        return {}

    def _file_stream(self, document: Mapping[str, Any]) -> dict[str, Any]:
        lines = document.get("files", {}).get("wandb-history.jsonl", {}).get("content", [])
        for row in map(json.loads, lines):
            step = row.pop("step")
            for name, value in row.items():
                self.held["wandb"].setdefault(name, []).append([step, value])
        return {}

    def _mlflow(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        if path == "experiments/get-by-name":
            return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none"}
        document = json.loads(body or b"{}")
        if path == "runs/log-batch":
            for each in document.get("metrics", []):
                self.held["mlflow"].setdefault(each["key"], []).append([int(each["step"]), each["value"]])
        info = {"run_id": "1", "run_uuid": "1", "experiment_id": "1", "status": "RUNNING", "start_time": 0}
        run = {"run": {"info": info, "data": {}}}
        return 200, {
            "experiments/create": {"experiment_id": "1"},
            "runs/create": run,
            "runs/get": run,
            "runs/update": {"run_info": info},
        }.get(path, {})


def main(kind: str) -> None:
    if kind == "trackio":
        import trackio

        _, _, _, address = trackio.show(open_browser=False, block_thread=False)
        print("ADDRESS", re.sub(r"\x1b\[\d*m", "", address), flush=True)
        threading.Event().wait()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Others)
    print("ADDRESS", f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
