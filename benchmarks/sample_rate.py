"""Accuracy on unseen characters by sample rate: the quickstart's training at r = 1.0, 0.3, 0.1, 0.03.

    python benchmarks/sample_rate.py --data data/glyphs --output benchmarks/sample_rate.csv

Each (rate, seed) is one run of `partialfc train` in its own process, `--parallel` of them at a time with one
thread each; the seed changes the initial weights, the order of the data, its augmentation and the sampling.
The batch is small, so that the batch's own classes, which always take part, leave room for sampled ones.
Prints mean and spread (standard deviation) over the seeds.
"""

import argparse
import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

import partialfc

CONFIG = Path(__file__).parents[1] / "configs" / "quickstart.yaml"


def train(rate: float, seed: int, options: argparse.Namespace) -> dict[str, float]:
    """One run; the last verification of its pairs, and how many centres took part in the last step."""
    data, steps = options.data, options.steps
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "partialfc", "train", str(CONFIG)),
            f"run.dir={folder}/run",
            f"run.seed={seed}",
            f"data.train={data / 'train.rec'}",
            f"head.sample_rate={rate}",
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
        ]
        subprocess.run(
            command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        lines = (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    (verification,) = [record for record in records if record["event"] == "verification"]
    centres = [record["centres"] for record in records if record["event"] == "train"]
    return {**verification, "centres": centres[-1]}


def machine() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return f"{os.cpu_count()} x {line.partition(':')[2].strip()}"
    return platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/glyphs"))
    parser.add_argument("--rates", type=float, nargs="+", default=[1.0, 0.3, 0.1, 0.03])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()

    jobs = [(rate, seed) for seed in range(options.seeds) for rate in options.rates]
    with ThreadPoolExecutor(options.parallel) as pool:
        results = list(pool.map(lambda job: train(*job, options), jobs))

    rows = []
    print(f"{'sample rate':>12}  {'centres':>8}  {'pair accuracy':>18}  {'TAR at FAR 1e-3':>18}")
    for rate in options.rates:
        of_rate = [result for job, result in zip(jobs, results, strict=True) if job[0] == rate]
        row = {"sample_rate": rate, "centres": round(statistics.mean(r["centres"] for r in of_rate))}
        row |= {"seeds": options.seeds, "steps": options.steps, "batch": options.batch}
        for name, key in (("accuracy", "accuracy"), ("tar_at_far_1e-3", "tar@far=1e-3")):
            values = [result[key] for result in of_rate]
            row[f"{name}_mean"] = round(statistics.mean(values), 5)
            row[f"{name}_std"] = round(statistics.stdev(values), 5)
        rows.append(
            row | {"torch": torch.__version__, "partialfc": partialfc.__version__, "machine": machine()}
        )
        print(
            f"{rate:>12}  {row['centres']:>8}  {row['accuracy_mean']:>9.2%} ± {row['accuracy_std']:>6.2%}"
            f"  {row['tar_at_far_1e-3_mean']:>9.2%} ± {row['tar_at_far_1e-3_std']:>6.2%}",
            flush=True,
        )
    if options.output:
        with options.output.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
