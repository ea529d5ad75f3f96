"""Images with names, a trained network, and what a test's loops know of them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from partialfc.data.images.codec import encode_png
from partialfc.evaluation.embed import embed
from partialfc.trained import load_trained
from partialfc.training.run import train
from tests.processes import ENVIRONMENT, call
from tests.train_cases import SIZE, small_config, write_data


@dataclass
class Images:
    """Files below `folder` by their names there, and the unit embedding of each, float64 [n, D]."""

    folder: Path
    names: list[str]
    rows: np.ndarray

    def identity(self, name: str) -> str:
        return name.split("/")[-2]

    def scores(self, names: Sequence[str], others: Sequence[str]) -> np.ndarray:
        places = {name: place for place, name in enumerate(self.names)}
        first, second = ([places[name] for name in each] for each in (names, others))
        return self.rows[first] @ self.rows[second].T


def trained_run(folder: Path) -> Path:
    """A run of three steps."""
    write_data(folder)
    train(small_config(folder, "train.steps=3"))
    return folder / "run"


def write_images(folder: Path, names: Sequence[str], *, seed: int = 0) -> None:
    """A grey picture for each name: the pattern of its identity, its last folder's name, and noise."""
    generator = np.random.default_rng(seed)
    patterns: dict[str, np.ndarray] = {}
    for name in names:
        identity = Path(name).parent.name
        if identity not in patterns:
            patterns[identity] = np.random.default_rng(len(patterns)).integers(40, 216, (SIZE, SIZE, 1))
        pixels = patterns[identity] + generator.integers(-150, 150, (SIZE, SIZE, 1))
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(pixels.clip(0, 255).astype(np.uint8)))


def embedded(run: Path, folder: Path) -> Images:
    """The images below a folder, embedded by the run's network."""
    trained = load_trained(run, trust=["tests.train_cases"])
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png"))
    rows = embed(
        trained.backbone,
        [(folder / name).read_bytes() for name in names],
        image_size=trained.image_size,
        channels=trained.channels,
        device=torch.device("cpu"),
    )
    rows = torch.nn.functional.normalize(rows.double()).numpy()
    return Images(folder, names, rows)


def evaluated(
    run: Path, *words: object, ranks: int = 0, environment: dict[str, str] = ENVIRONMENT
) -> dict[str, Any]:
    """What `partialfc evaluate RUN WORDS --json` says."""
    how = ("--trust", "tests.train_cases", "--device", "cpu", "--json")
    done = call("evaluate", run, *how, *words, ranks=ranks, environment=environment)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def refused(run: Path, *words: object) -> str:
    """What it says to stderr where it refuses them."""
    done = call("evaluate", run, "--trust", "tests.train_cases", "--device", "cpu", *words)
    assert done.returncode == 1, done.stdout
    return done.stderr
