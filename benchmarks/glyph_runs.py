"""Trainings of the quickstart's data by variant and seed: accuracy on unseen characters, mean and spread.

Each (variant, seed) is one run of `partialfc train` in its own process, `--parallel` of them at a time with
one thread each; the seed changes the initial weights, the order of the data, its augmentation and the
sampling. The batch is small: its own classes always take part, and must leave room for
sampled ones.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from table import surroundings, write

CONFIG = Path(__file__).parents[1] / "configs" / "quickstart.yaml"
SCORES = {"accuracy": "accuracy", "tar_at_far_1e-3": "tar@far=1e-3"}


def parser(description: str | None) -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    result.add_argument("--data", type=Path, default=Path("data/glyphs"))
    result.add_argument("--seeds", type=int, default=3)
    result.add_argument("--steps", type=int, default=900)
    result.add_argument("--batch", type=int, default=64)
    result.add_argument("--lr", type=float, default=0.1)
    result.add_argument("--parallel", type=int, default=2)
    result.add_argument("--output", type=Path)
    return result


def train(overrides: Sequence[str], seed: int, options: argparse.Namespace) -> dict[str, float]:
    """One run; the last verification of its pairs, and how many centres took part in the last step."""
    data, steps = options.data, options.steps
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "partialfc", "train", str(CONFIG)),
            f"run.dir={folder}/run",
            f"run.seed={seed}",
            f"data.train={data / 'train.rec'}",
            f"train.steps={steps}",
            f"train.batch_size={options.batch}",
            f"optimizer.lr={options.lr}",
            f"schedule.warmup_steps={steps // 10}",
            f"train.log_every={steps}",
            "train.threads=1",
            f"verification.sets={{unseen: {data / 'pairs.bin'}}}",
            "verification.at_start=false",
            f"verification.every_steps={steps}",
            f"checkpoint.every_steps={steps}",
            *overrides,
        ]
        subprocess.run(
            command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        lines = (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    (verification,) = [record for record in records if record["event"] == "verification"]
    centres = [record["centres"] for record in records if record["event"] == "train"]
    return {**verification, "centres": centres[-1]}


def compare(variants: Mapping[str, Sequence[str]], name: str, options: argparse.Namespace) -> None:
    """Run every variant (its overrides of the config) with every seed; print and write a row of each."""
    jobs = [(variant, seed) for seed in range(options.seeds) for variant in variants]
    with ThreadPoolExecutor(options.parallel) as pool:
        results = list(pool.map(lambda job: train(variants[job[0]], job[1], options), jobs))
    rows = []
    print(f"{name:>28}  {'centres':>8}  {'pair accuracy':>18}  {'TAR at FAR 1e-3':>18}")
    for variant in variants:
        own = [result for job, result in zip(jobs, results, strict=True) if job[0] == variant]
        row: dict[str, Any] = {name: variant, "centres": round(statistics.mean(r["centres"] for r in own))}
        row |= {"seeds": options.seeds, "steps": options.steps, "batch": options.batch}
        for score, key in SCORES.items():
            values = [result[key] for result in own]
            row[f"{score}_mean"] = round(statistics.mean(values), 5)
            row[f"{score}_std"] = round(statistics.stdev(values), 5)
        rows.append(row | surroundings())
        print(
            f"{variant:>28}  {row['centres']:>8}  {row['accuracy_mean']:>9.2%} ± {row['accuracy_std']:>6.2%}"
            f"  {row['tar_at_far_1e-3_mean']:>9.2%} ± {row['tar_at_far_1e-3_std']:>6.2%}",
            flush=True,
        )
    if options.output:
        write(options.output, rows)
