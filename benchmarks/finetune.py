"""Ways to fine-tune on few images of new classes in another look, against training from scratch.

    partialfc data glyphs data/glyphs
    partialfc data glyphs data/glyphs_jittered --jitter 0.3
    python benchmarks/finetune.py --output benchmarks/finetune.csv

The quickstart's network learns 1,202 characters, drawn alike; its run stays in --base. Then it is trained
further on the 400 others with 3 images each, a twelfth as many images, where size, place, angle, ink and
paper vary (--jitter 0.3), by configs/finetune.yaml with another `finetune` section for each way. Pairs of the
other images of these 400 characters verify it. The seed is that of the training further, or from scratch.

Each run is one of `partialfc train`, on one thread; a row is written when its run is done, and a run that has
a row is not made again. About 6 minutes of one core. It prints mean and spread (standard deviation) over the
seeds.
"""

import argparse
import contextlib
import json
import math
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from finetune_data import Split, split
from table import Row, read, surroundings, write

from partialfc.config import load_config
from partialfc.training.run import train

CONFIGS = Path(__file__).parents[1] / "configs"
SCORES = {"accuracy": "accuracy", "tar_at_far_1e-3": "tar@far=1e-3"}
STEM = ["layers.0", "layers.1"]  # of ConvNet: the first convolution, and its BatchNorm
HALF = [*STEM, "layers.3"]  # and the first stage's block
LORA = {"rank": 8, "patterns": ["*"]}
BEFORE = "not fine-tuned"
WAYS: Mapping[str, dict[str, Any]] = {  # the keys of `finetune`, but for the network that it begins with
    "centres at random": {"head_from": "random"},
    "centres from means": {"head_from": "means"},
    "first stage frozen": {"head_from": "means", "freeze": HALF},
    "layers at a tenth of the rate": {"head_from": "means", "lr_scale": {"layers": 0.1}},
    "LoRA, rank 8": {"head_from": "means", "lora": LORA},
    "LoRA, rank 8, all else frozen": {"head_from": "means", "freeze": ["*"], "lora": LORA},
}
SCRATCH = "from scratch"


def main() -> None:
    options = _arguments()
    rows: list[Row] = [*read(options.output)] if options.output and options.output.exists() else []
    done = {(row["way"], int(row["seed"])) for row in rows}
    with tempfile.TemporaryDirectory() as folder:
        data = split(
            *(options.data, options.jittered, Path(folder)),
            new=options.new,
            shots=options.shots,
            pairs=options.pairs,
        )
        if not (options.base / "metrics.jsonl").exists():
            budget = {"steps": options.base_steps, "batch": 256}
            _train("quickstart", options.base, data.base, 0, pairs=data.pairs, **budget)
        wanted = [(BEFORE, 0), *((way, seed) for way in (SCRATCH, *WAYS) for seed in options.seeds)]
        for number, (way, seed) in enumerate(each for each in wanted if each not in done):
            steps = 0 if way == BEFORE else options.steps
            found = _run(way, Path(folder) / f"{number}", data, seed, options)
            row: Row = {"way": way, "seed": seed, "steps": steps}
            row |= {score: _percent(found[key]) for score, key in SCORES.items()}
            rows.append(row | {"base_images": data.images, "new_images": data.few} | surroundings())
            print(*(row[name] for name in ("way", "seed", *SCORES)), sep=", ", flush=True)
            if options.output:
                write(options.output, rows)
    _print(rows)


def _run(way: str, run: Path, data: Split, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Go one way; the last verification."""
    if way == BEFORE:
        return _verifications(options.base)[-1]
    config, more = "quickstart", ["head.sample_rate=1.0"]
    if way != SCRATCH:
        section = json.dumps({"backbone_from": str(options.base), **WAYS[way]})
        config, more = "finetune", [f"finetune={section}"]
    return _train(config, run, data.new, seed, options.steps, batch=64, pairs=data.pairs, more=more)


def _train(
    config: str,
    run: Path,
    data: Path,
    seed: int,
    steps: int,
    *,
    batch: int,
    pairs: Path,
    more: Sequence[str] = (),
) -> dict[str, Any]:
    """A run of `partialfc train`; its last verification."""
    overrides = [
        f"run={{dir: {run}, seed: {seed}}}",
        f"data.train={data}",
        f"train={{batch_size: {batch}, steps: {steps}, amp: auto, log_every: {steps}, threads: 1}}",
        f"schedule.warmup_steps={steps // 10}",
        f"verification={{sets: {{new: {pairs}}}}}",
        "checkpoint={}",
        "metrics.port=null",
        *more,
    ]
    with contextlib.redirect_stdout(None):
        train(load_config(CONFIGS / f"{config}.yaml", overrides))
    return _verifications(run)[-1]


def _verifications(run: Path) -> list[dict[str, Any]]:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["event"] == "verification"]


def _percent(share: float | None) -> float:
    """NaN where there are too few pairs to say it."""
    return math.nan if share is None else round(100 * share, 3)


def _print(rows: Sequence[Row]) -> None:
    print(f"\n{'way':>32}  {'seeds':>5}  {'pair accuracy':>18}  {'TAR at FAR 1e-3':>18}")
    for way in (BEFORE, SCRATCH, *WAYS):
        own = [row for row in rows if row["way"] == way]
        scores = [[float(row[score]) for row in own] for score in SCORES]
        shown = (f"{statistics.mean(s):>8.2f} % {_spread(s):>6}" for s in scores if s)
        print(f"{way:>32}  {len(own):>5}  {'  '.join(shown)}")


def _spread(values: Sequence[float]) -> str:
    return f"± {statistics.stdev(values):.2f}" if len(values) > 1 else ""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/glyphs"))
    parser.add_argument("--jittered", type=Path, default=Path("data/glyphs_jittered"))
    parser.add_argument("--new", type=int, default=400, help="classes to fine-tune on")
    parser.add_argument("--shots", type=int, default=3, help="images of each")
    parser.add_argument("--pairs", type=int, default=6000, help="of their other images")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--base", type=Path, default=Path("runs/finetune_base"))
    parser.add_argument("--base-steps", type=int, default=200)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--output", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
