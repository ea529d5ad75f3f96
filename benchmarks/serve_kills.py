"""`partialfc serve` killed again and again under load: whether all changes that it answered come back.

    OMP_NUM_THREADS=1 python benchmarks/serve_kills.py MODEL.onnx --output benchmarks/serve_kills.csv

Each client adds an image under a new name as soon as the one before is answered. Between two kills (SIGKILL)
some hundred changes are answered. At the end each name is looked up: `lost` are those that were answered and
are not there, `twice` those that are there more than once. `broken` are connections that ended without an
answer, `other_answers` those that are neither 201 nor 503; `down_p50_s` is the median time from a kill to the
next answer.
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import http_load
from serve import jpegs
from table import Row, rounded, surroundings, write

TOKEN = "the-token-of-a-benchmark"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


class Restarted:
    """The service, on one port however often it is started."""

    def __init__(self, model: Path, gallery: Path) -> None:
        self._words = [sys.executable, "-m", "partialfc", "serve", str(model), "--gallery", str(gallery)]
        self.port = 0
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [*self._words, "--threads", "1", "--port", str(self.port)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PARTIALFC_TOKEN": TOKEN},
            text=True,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().rsplit(":", 1)[1])

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Client:
    """Adds one name after the other, until it is told to stop; knows which were answered."""

    def __init__(self, number: int, images: list[bytes]) -> None:
        self._number, self._images = number, images
        self.answered: list[str] = []
        self.moments: list[float] = []  # of answers
        self.stopped = False
        self._asked = 0

    def requests(self) -> Iterator[bytes]:
        while not self.stopped:
            name = f"{self._number}-{self._asked}"
            body = self._images[self._asked % len(self._images)]
            yield http_load.request("POST", f"/gallery/{name}", body, Content_Type="image/jpeg", **BEARER)
            self._asked += 1

    def was_told(self, status: int) -> None:
        if status == 201:
            self.answered.append(f"{self._number}-{self._asked}")
            self.moments.append(time.perf_counter())


async def killed_again_and_again(
    service: Restarted, clients: list[Client], *, kills: int, changes: int
) -> tuple[list[http_load.Load], list[float]]:
    """The loads, and the moments of the kills; at least so many changes are answered before each of them."""
    tasks = [
        asyncio.ensure_future(http_load.drive(service.port, [each.requests()], each.was_told))
        for each in clients
    ]
    moments, goal = [], 0
    for _ in range(kills):
        goal = sum(len(each.answered) for each in clients) + changes
        while sum(len(each.answered) for each in clients) < goal:
            await asyncio.sleep(0.005)
        service.kill()
        moments.append(time.perf_counter())
        await asyncio.to_thread(service.start)
    goal = sum(len(each.answered) for each in clients) + changes
    while sum(len(each.answered) for each in clients) < goal:
        await asyncio.sleep(0.005)
    for each in clients:
        each.stopped = True
    return list(await asyncio.gather(*tasks)), moments


async def counts(port: int, names: list[str]) -> list[int]:
    """How many images each name has."""
    reader, writer = await asyncio.open_connection(http_load.HOST, port)
    found = []
    for name in names:
        status, body = await http_load.ask(
            reader, writer, http_load.request("GET", f"/gallery/{name}", **BEARER)
        )
        found.append(json.loads(body)["images"] if status == 200 else 0)
    writer.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--changes", type=int, default=200, help="answered before each kill")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    images = jpegs()
    with tempfile.TemporaryDirectory() as folder:
        service = Restarted(options.model, Path(folder) / "gallery")
        clients = [Client(number, images) for number in range(options.clients)]
        try:
            loads, kills = asyncio.run(
                killed_again_and_again(service, clients, kills=options.kills, changes=options.changes)
            )
            service.kill()
            service.start()
            answered = [name for each in clients for name in each.answered]
            found = asyncio.run(counts(service.port, answered))
        finally:
            service.kill()
    moments = sorted(moment for each in clients for moment in each.moments)
    down = [next(moment for moment in moments if moment > kill + 0.001) - kill for kill in kills]
    statuses = [status for load in loads for status, seconds in load.seconds.items() for _ in seconds]
    row: Row = {
        "model": options.model.stem,
        "clients": options.clients,
        "kills": options.kills + 1,
        "answered": len(answered),
        "lost": found.count(0),
        "twice": sum(count > 1 for count in found),
        "broken": sum(load.broken for load in loads),
        "full": statuses.count(503),
        "other_answers": sum(status not in (201, 503) for status in statuses),
        "down_p50_s": rounded(statistics.median(down)),
        "load": round(os.getloadavg()[0], 1),
        **surroundings(),
    }
    print("  ".join(f"{name} {value}" for name, value in row.items()))
    if options.output is not None:
        write(options.output, [row])
    if row["lost"] or row["other_answers"]:
        raise SystemExit("a change that was answered is lost, or something else was answered")


if __name__ == "__main__":
    main()
