"""A small glyph set and a config that trains on it, for the tests that start runs from outside."""

from pathlib import Path
from typing import Any

import yaml

from partialfc.data.glyphs.build import build_glyphs
from partialfc.metrics.run_log import read_metrics
from tests.data.glyphs.fontmaker import pattern, save_font

FOREVER = 10**6  # steps; the tests stop such a run


def write_fonts(folder: Path, *, characters: int) -> Path:
    """So many characters in each of 4 faces; the folder."""
    drawn = [chr(0x4E00 + index) for index in range(characters)]
    for weight in range(4):
        drawings = {c: pattern(ord(c), weight=weight) for c in drawn}
        save_font(folder / f"{weight}.ttf", drawings)
    return folder


def write_glyphs(folder: Path, *, characters: int = 24) -> Path:
    """Characters in 4 faces -> train.rec, pairs.bin of 6 other characters; their folder."""
    fonts = write_fonts(folder / "fonts", characters=characters + 6)
    build_glyphs(folder / "glyphs", fonts=[fonts], size=16, min_faces=3, holdout=6, pairs=40)
    return folder / "glyphs"


def write_config(path: Path, glyphs: Path, run: Path, **train: Any) -> Path:
    """A config of a run in `run`; `train` changes that section."""
    config = {
        "run": {"dir": str(run)},
        "data": {"train": str(glyphs / "train.rec"), "image_size": 16, "channels": 1},
        "backbone": {"name": "convnet", "embedding_size": 16},
        "head": {"margin": {"name": "cosface", "scale": 16, "margin": 0.2}, "sample_rate": 0.5},
        "optimizer": {"name": "sgd", "lr": 0.1},
        "schedule": {"name": "constant"},
        "train": {"batch_size": 16, "steps": FOREVER, "log_every": 1} | train,
        "checkpoint": {"every_steps": FOREVER},
        "verification": {"sets": {"unseen": str(glyphs / "pairs.bin")}, "every_steps": FOREVER, "folds": 2},
    }
    path.write_text(yaml.safe_dump(config))
    return path


def steps_done(run: Path) -> list[int]:
    """The steps in metrics.jsonl, in order."""
    if not (run / "metrics.jsonl").exists():
        return []
    return [record["step"] for record in read_metrics(run) if record["event"] == "train"]
