"""Small models, images for them, and the running service."""

import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from partialfc.data.images.codec import encode_jpeg, encode_png
from partialfc.serving.card import Threshold
from tests.processes import ENVIRONMENT
from tests.serving import cases

CARD = replace(
    cases.CARD,
    embedding_size=32,
    thresholds=(
        Threshold(set="pairs", far=1e-3, threshold=0.6, tar=0.9),
        Threshold(set="pairs", far=1e-2, threshold=0.3, tar=0.95),
    ),
)
SIZE = CARD.image_size
SPIN = 512  # the slow model multiplies matrices of this size
TURNS = 960  # so often, which takes a second or more
TOKEN = "a-token-of-many-characters"


def write_model(path: Path, *, slow: bool = False) -> Path:
    """A linear network, which gives zero for a black image; the slow one first works for a second or more."""
    half = np.random.default_rng(0).integers(-8, 9, (3 * SIZE * SIZE // 2, CARD.embedding_size))
    cases.write_onnx(path, CARD, weights=np.concatenate([half, -half]).astype(np.float32))
    if slow:
        model = onnx.load(path)
        _spin(model.graph)
        onnx.save(model, path)
    return path


def _spin(graph: onnx.GraphProto) -> None:
    """Let what the graph gives depend on a product of many matrices, times nothing."""
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(SPIN, SPIN)))[0].astype(np.float32)
    held = {"turn": turn, "turns": np.array(TURNS), "go": np.array(True), "zero": np.float32(0)}
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in held.items())
    graph.node[-1].output[0] = "product"
    graph.node.extend(
        [
            helper.make_node("Loop", ["turns", "go", "turn"], ["turned"], body=_turn()),
            helper.make_node("ReduceMax", ["turned"], ["largest"], keepdims=0),
            helper.make_node("Mul", ["largest", "zero"], ["nothing"]),
            helper.make_node("Add", ["product", "nothing"], [graph.output[0].name]),
        ]
    )


def _turn() -> onnx.GraphProto:
    """The body of a loop: state -> state @ turn."""
    state = helper.make_tensor_value_info("state", TensorProto.FLOAT, [SPIN, SPIN])
    turned = helper.make_tensor_value_info("next", TensorProto.FLOAT, [SPIN, SPIN])
    count = helper.make_tensor_value_info("count", TensorProto.INT64, [])
    going, on = (helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("going", "on"))
    nodes = [
        helper.make_node("Identity", ["going"], ["on"]),
        helper.make_node("MatMul", ["state", "turn"], ["next"]),
    ]
    return helper.make_graph(nodes, "turn", [count, going, state], [on, turned])


def picture(seed: int, size: int = SIZE) -> np.ndarray:
    """uint8 [size, size, 3]."""
    return np.random.default_rng(seed).integers(256, size=(size, size, 3), dtype=np.uint8)


def jpeg(seed: int) -> bytes:
    return encode_jpeg(picture(seed, 24))


def png(seed: int) -> bytes:
    """One whose pixels come back as they were, and which is of the model's size."""
    return encode_png(picture(seed))


def files(*images: bytes) -> list[tuple[str, tuple[str, bytes, str]]]:
    """As httpx takes files."""
    return [("images", (f"{index}.png", image, "image/png")) for index, image in enumerate(images)]


@dataclass(frozen=True)
class Running:
    """A service's process, and a client of it."""

    process: subprocess.Popen[str]
    client: httpx.Client
    port: int

    def embed(self, image: bytes, kind: str = "image/png", **headers: str) -> httpx.Response:
        return self.client.post("/embed", content=image, headers={"Content-Type": kind, **headers})

    def metric(self, name: str, **labels: str) -> float:
        """The value of a sample; 0 where there is none."""
        inside = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
        wanted = f"{name}{{{inside}}}" if inside else name
        lines = self.client.get("/metrics").text.splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(f"{wanted} ")), 0.0)

    def ended(self) -> tuple[int, str]:
        """The exit status and what stands on stderr, once it has ended."""
        _, err = self.process.communicate(timeout=120)
        return self.process.returncode, err


@contextlib.contextmanager
def serving(
    model: Path, *options: object, environment: dict[str, str] | None = None, token: str = ""
) -> Iterator[Running]:
    """`partialfc serve MODEL`, where no torch can be imported, on a free port."""
    words = [sys.executable, "-m", "tests.without", "torch", "serve", str(model), "--port", "0"]
    process = subprocess.Popen(
        [*words, "--threads", "1", *map(str, options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT | (environment or {}),
    )
    try:
        line = process.stdout.readline()
        found = re.fullmatch(r"serving \S+ at (http://\S+:(\d+))\n", line)
        assert found, (line, process.communicate())
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with httpx.Client(base_url=found[1], headers=headers, timeout=120) as client:
            yield Running(process, client, int(found[2]))
    finally:
        process.kill()
        process.communicate()


def problem(answer: httpx.Response) -> dict[str, Any]:
    """What an error says; its status is that of the answer."""
    told = answer.json()["error"]
    assert told.keys() == {"status", "field", "value", "rule"}
    assert told["status"] == answer.status_code
    return told


def wait_until(look: Callable[[], bool], *, seconds: float = 60) -> bool:
    """Whether it comes true in time."""
    deadline = time.monotonic() + seconds
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found
