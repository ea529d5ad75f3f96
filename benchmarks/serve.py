"""Requests a second and latencies of `partialfc serve`, at 1 to 32 clients.

    OMP_NUM_THREADS=1 python benchmarks/serve.py MODEL.onnx mobilefacenet --output benchmarks/serve.csv

A model is a file, or the name of a backbone, which is exported with random weights: images of 112 x 112 with
three channels to embeddings of 512.

The server is a process of its own; the clients are in this one, on the same machine, so that they take a
part of its cores: `client_cpu_ms` says how much for a request. Each client keeps one connection open and asks
again as soon as it is answered, with a JPEG of 112 x 112 pixels at quality 95. `batch` is the mean number of
images in a call of the model, `server_cpu_ms` the server's own time for a request, over all of its threads.
"""

import argparse
import asyncio
import contextlib
import importlib.metadata
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import cv2
import http_load
import numpy as np
from table import Row, read, rounded, surroundings, write

from partialfc.data.images.codec import encode_jpeg

CLIENTS = (1, 2, 4, 8, 16, 32)
IMAGES = 64
SIZE = 112
TICKS = os.sysconf("SC_CLK_TCK")


def file_of(model: str, folder: Path) -> Path:
    """The file of a model; that of a backbone is made in a folder."""
    path = Path(model)
    if path.exists():
        return path
    from export import random_network

    from partialfc.backbones import BACKBONES
    from partialfc.deploy.export.card import with_interface
    from partialfc.deploy.export.graph import Graph, interface
    from partialfc.deploy.export.onnx_file import onnx_of, write_onnx
    from partialfc.trained import card_of

    if model not in BACKBONES:
        raise SystemExit(f"{model} is neither a file nor a backbone: {', '.join(BACKBONES)}")
    trained, how = random_network(model), interface(pixels=True, channels_last=False, flip="none", unit=True)
    path = folder / f"{model}.onnx"
    write_onnx(onnx_of(Graph(trained, how)), path, with_interface(card_of(trained), how))
    return path


def jpegs() -> list[bytes]:
    """Pictures of soft blobs, which compress about as faces do."""
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 256, (IMAGES, SIZE // 8, SIZE // 8, 3), dtype=np.uint8)
    return [encode_jpeg(cv2.resize(each, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)) for each in coarse]


@contextlib.contextmanager
def server(*arguments: object, port: int = 0) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """`partialfc serve ARGUMENTS`: its port and its process, which is killed at the end if it still runs."""
    words = [sys.executable, "-m", "partialfc", "serve", *map(str, arguments), "--port", str(port)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r":(\d+)$", process.stdout.readline())
        if found is None:
            raise SystemExit(f"the server did not start: it ended with status {process.wait()}")
        yield int(found[1]), process
    finally:
        process.kill()
        process.wait()


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def counted(port: int) -> dict[str, float]:
    """The service's metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def for_a_while(requests: list[bytes], seconds: float) -> Iterator[bytes]:
    end, number = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        yield requests[number % len(requests)]
        number += 1


def measure(port: int, pid: int, clients: int, *, accept: str, seconds: float) -> Row:
    """One row."""
    asked = [
        http_load.request("POST", "/embed", image, Content_Type="image/jpeg", Accept=accept)
        for image in jpegs()
    ]
    before, cpu, own = counted(port), cpu_seconds(pid), time.process_time()
    loads = [for_a_while(asked[first:] + asked[:first], seconds) for first in range(clients)]
    load = asyncio.run(http_load.drive(port, loads, lambda status: None))
    cpu, own = cpu_seconds(pid) - cpu, time.process_time() - own
    after, done, wall = counted(port), load.count(200), load.ended - load.began
    calls = after["partialfc_serve_batch_images_count"] - before["partialfc_serve_batch_images_count"]
    images = after["partialfc_serve_images_total"] - before["partialfc_serve_images_total"]
    return {
        "clients": clients,
        "answer": accept,
        "requests": done,
        "other_answers": sum(map(len, load.seconds.values())) - done + load.broken,
        "requests_per_s": round(done / wall, 1),
        "p50_ms": rounded(1000 * load.quantile(200, 0.5)),
        "p99_ms": rounded(1000 * load.quantile(200, 0.99)),
        "batch": rounded(images / max(1, calls)),
        "server_cpu_ms": rounded(1000 * cpu / max(1, done)),
        "client_cpu_ms": rounded(1000 * own / max(1, done)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", help="files or names of backbones")
    parser.add_argument("--clients", nargs="+", type=int, default=CLIENTS)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--accept", default="application/json")
    parser.add_argument("--options", default="--threads 1", help="of `partialfc serve`")
    parser.add_argument("--output", type=Path, help="CSV file; rows of other models in it stay")
    options = parser.parse_args()
    rows: list[Row] = []
    if options.output is not None and options.output.exists():
        measured = {Path(model).stem for model in options.models}
        rows = [row for row in read(options.output) if row["model"] not in measured]
    with tempfile.TemporaryDirectory() as folder:
        paths = [file_of(model, Path(folder)) for model in options.models]
        for path in paths:
            with server(path, *options.options.split()) as (port, process):
                measure(
                    port, process.pid, 2, accept=options.accept, seconds=min(1.0, options.seconds)
                )  # warm
                for clients in options.clients:
                    row = measure(port, process.pid, clients, accept=options.accept, seconds=options.seconds)
                    about = {"options": options.options, "load": round(os.getloadavg()[0], 1)}
                    about |= {"onnxruntime": importlib.metadata.version("onnxruntime")}
                    row = {"model": path.stem, **row}
                    rows.append({**row, **about, **surroundings()})
                    print("  ".join(f"{name} {value}" for name, value in row.items()))
    if options.output is not None:
        write(options.output, rows)


if __name__ == "__main__":
    main()
