"""Folders of runs with a log and scores of which everything is known."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partialfc.cli import app as cli

PHASES = ("data_wait", "backbone", "head_forward", "backward", "optimizer")


def train_record(step: int, rng: np.random.Generator, **more: Any) -> dict[str, Any]:
    phases = dict(zip(PHASES, (0.001, 0.04, 0.02, 0.08, 0.01), strict=True))
    counts = np.histogram(rng.normal(90 - 0.1 * step, 8, 64), 36, (0, 180))[0]
    return {
        "event": "train",
        "step": step,
        "loss": 10 / (1 + step / 50) + float(rng.normal(0, 0.05)),
        "gradient_norm": 3.0 + float(rng.random()),
        "seconds": 2.5,
        "images_per_second": 1000.0 + float(rng.normal(0, 20)),
        "epoch": step / 100,
        "samples": 256 * step,
        "lr": 0.1 * (1 - step / 1000),
        "centres": 100,
        "embedding_norm": 10.0,
        "target_angle_degrees": 80.0,
        "target_angle_histogram": counts.tolist(),
        "nonfinite_steps": 0,
        "overflow_steps": 0,
        "loss_scale": 1.0,
        "step_seconds": 0.16,
        "phase_seconds": phases,
        **more,
    }


def angle_record(step: int, rng: np.random.Generator) -> dict[str, Any]:
    record: dict[str, Any] = {"event": "angles", "step": step}
    for name, centre in (("target", 90 - 0.1 * step), ("nearest_negative", 70.0), ("nearest_centre", 60.0)):
        values = rng.normal(centre, 5, 200)
        record |= {
            f"{name}_histogram": np.histogram(values, 60, (0, 180))[0].tolist(),
            f"{name}_degrees": float(values.mean()),
            f"{name}_smallest": float(values.min()),
        }
    return record


def verification_record(step: int, accuracy: float, name: str = "lfw") -> dict[str, Any]:
    return {
        "event": "verification",
        "step": step,
        "set": name,
        "pairs": 400,
        "accuracy": accuracy,
        "threshold": 0.5,
        "tar@far=1e-2": accuracy - 0.1,
        "tar@far=1e-4": None,
        "auc": 0.99,
        "eer": 1 - accuracy,
    }


def write_log(run_dir: Path, records: Sequence[Mapping[str, Any]]) -> None:
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records))


def scored(seed: int = 0, shift: float = 0.5) -> dict[str, np.ndarray]:
    """Scores of 400 pairs among 50 people, of which the files of a run consist."""
    rng = np.random.default_rng(seed)
    own = np.arange(400) % 50
    same = np.arange(400) // 50 % 2 == 0
    other = np.where(same, own, (own + 1 + np.arange(400) // 100) % 50)
    scores = np.random.default_rng(7).normal(0.2 + shift * same, 0.2) + rng.normal(0, 0.05, 400)
    return {
        "scores": scores,
        "same": same,
        "folds": np.array(10),
        "identities": np.stack([own, other], 1).astype(np.int32),
    }


def write_run(run_dir: Path, *, seed: int = 0, steps: int = 500, shift: float = 0.5) -> list[dict[str, Any]]:
    """A run with everything that a log may hold; its records."""
    rng = np.random.default_rng(seed)
    records: list[dict[str, Any]] = [verification_record(0, 0.6)]
    for step in range(10, steps + 1, 10):
        staged = {"head.margin.margin": 0.2 if step < 300 else 0.4}
        if step == 300:
            records.append({"event": "stage", "step": step, "stage": 0, "begins": True, "settings": staged})
        records.append(train_record(step, rng, **staged))
        if step in (10, 250, steps):
            records.append(angle_record(step, rng))
        if step % 250 == 0:
            records.append(verification_record(step, 0.8 + step / 10_000))
            records.append({"event": "checkpoint", "step": step, "path": "x", "seconds": 0.5})
    write_log(run_dir, records)
    (run_dir / "config.yaml").write_text(
        f"run:\n  dir: {run_dir}\n  seed: {seed}\ntrain:\n  steps: {steps}\n"
    )
    (run_dir / "verification").mkdir()
    np.savez(run_dir / "verification" / "lfw.untrained.npz", **scored(seed, 0.1), step=0)
    np.savez(run_dir / "verification" / "lfw.latest.npz", **scored(seed, shift), step=steps)
    return records


def report(*arguments: object) -> None:
    """`partialfc report` with these arguments, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["partialfc", "report", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    assert not ended.value.code
