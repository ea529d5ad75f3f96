"""What `partialfc init` suggests, against configs written by hand: the same images, pairs and processor time.

Each set is looked at by `partialfc init`. Its config and the hand-written one train on the same images, one
thread each, for as many steps as fit into `--seconds` of processor time (measured first, in two short runs),
or with --own-length for as many as each config says; both are verified on the same pairs of classes never
seen. One row a run; rows that are there are not measured again.

    python benchmarks/init.py --seconds 10 --fonts /usr/share/fonts --emoji EMOJI --output benchmarks/init.csv
    python benchmarks/init.py --own-length --fonts /usr/share/fonts --emoji EMOJI --output benchmarks/init.csv

EMOJI is where npm's packages emoji-datasource-apple, -facebook, -google and -twitter (16.0.0) were unpacked:
for each `npm pack PACKAGE@16.0.0`, then `tar xzf` its file, all in that folder. Without --fonts or --emoji
those sets are left out.
"""

import argparse
import contextlib
import io
import json
import math
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from init_data import emoji, few_faces, han
from table import read, rounded, surroundings, write

from partialfc.config import Config, load_config
from partialfc.data.sources.source import open_source
from partialfc.suggest.asked import Asked
from partialfc.suggest.write import write_suggestion
from partialfc.training.run import train as run_config

CONFIGS = Path(__file__).parents[1] / "configs"
KEY = ("set", "config", "seed", "seconds")
OWN = "own"  # in the column seconds: as many steps as the config says


@dataclass(frozen=True)
class Task:
    """A set of images, configs written by hand for such, with changes, and how many classes are held out.

    hold_out: None where pairs lie beside the images.
    """

    name: str
    images: Path
    by_hand: dict[str, tuple[str, ...]]
    hold_out: int | None


def main() -> None:
    options = _parser().parse_args()
    torch.set_num_threads(1)
    rows = read(options.output) if options.output and options.output.exists() else []
    with tempfile.TemporaryDirectory() as scratch:
        for task in _tasks(options, Path(scratch)):
            for row in _runs(task, options, Path(scratch) / f"{task.name}.yaml", rows):
                rows.append({key: str(value) for key, value in row.items()})
                if options.output:
                    write(options.output, rows)
    _summarise(rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("data/glyphs"), help="as make quickstart makes it")
    parser.add_argument("--fonts", type=Path, help="folder of fonts, for Han characters")
    parser.add_argument("--emoji", type=Path, help="folder of the unpacked packages")
    parser.add_argument("--sets", nargs="+", default=["few", "han", "emoji", "glyphs"])
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--seconds", type=float, default=10.0, help="processor time of a training")
    length.add_argument("--own-length", action="store_const", const=None, dest="seconds")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    return parser


def _tasks(options: argparse.Namespace, scratch: Path) -> Iterator[Task]:
    quickstart: dict[str, tuple[str, ...]] = {"quickstart": ()}
    for name in options.sets:
        if name == "glyphs":
            yield Task(name, options.data.absolute() / "train.rec", quickstart, None)
        elif name == "few":
            yield Task(name, few_faces(options.data, scratch / name, images=3), quickstart, None)
        elif name == "han" and options.fonts:
            images = han(options.fonts, scratch / name, characters=500, images=20)
            yield Task(name, images, quickstart, 200)
        elif name == "emoji" and options.emoji:
            by_hand = {"quickstart": ("data.channels=3",)}
            if options.seconds is not None:  # its own length is hours on a CPU
                by_hand["folder"] = ("data.image_size=64",)
            yield Task(name, emoji(options.emoji / "package", scratch / name), by_hand, 370)


def _runs(
    task: Task, options: argparse.Namespace, path: Path, known: Sequence[Mapping[str, str]]
) -> Iterator[dict[str, Any]]:
    """A row for each config and seed that `known` has none of, one after the other."""
    length = OWN if options.seconds is None else str(options.seconds)
    done = {tuple(row[key] for key in KEY) for row in known}
    wanted = [
        (name, seed)
        for seed in range(options.seeds)
        for name in ("suggested", *task.by_hand)
        if (task.name, name, str(seed), length) not in done
    ]
    if not wanted:
        return
    write_suggestion(Asked((str(task.images),), path, "runs/x", hold_out=task.hold_out))
    suggested = load_config(path)
    out = suggested.data.leave_out
    shared = [
        f"data.train={task.images}",
        f"verification.sets={{unseen: {next(iter(suggested.verification.sets.values()))}}}",
        *([] if out is None else [f"data.leave_out={out}"]),
    ]
    source = open_source(task.images, leave_out=out)
    own = {"suggested": (path, *shared)} | {
        name: (CONFIGS / f"{name}.yaml", *shared, *more) for name, more in task.by_hand.items()
    }
    steps = {name: _steps(*own[name], seconds=options.seconds) for name in dict(wanted)}
    for name, seed in wanted:
        config, result, spent = train(*own[name], steps=steps[name], seed=seed)
        row = {
            **{"set": task.name, "classes": source.num_classes, "images": len(source)},
            **{"config": name, "seed": seed, "seconds": length},
            **{"backbone": config.backbone.name, "image_size": config.data.image_size},
            **{"batch": config.train.batch_size, "steps": result["step"], "pairs": result["pairs"]},
            "accuracy": round(result["accuracy"], 5),
            "tar_at_far_1e-3": round(result["tar@far=1e-3"] or 0.0, 5),
            "processor_seconds": round(spent, 1),
        }
        print(_described(row), flush=True)
        yield row | surroundings()


def _described(row: Mapping[str, Any]) -> str:
    return (
        f"{row['set']:>8} {row['config']:>11} seed {row['seed']}: {row['steps']:>5} steps, "
        f"{row['accuracy']:.2%}, TAR {row['tar_at_far_1e-3']:.2%}, {row['processor_seconds']:.0f} s"
    )


def _steps(path: Path, *overrides: str, seconds: float | None) -> int | None:
    """How many fit into `seconds`; None, the config's own, where that is None."""
    return None if seconds is None else max(2, math.floor(seconds / _seconds_a_step(path, *overrides)))


def _seconds_a_step(path: Path, *overrides: str) -> float:
    """Processor time, from two short runs after one that only warms up."""
    few, more = 1, 4
    _, one, four = (
        train(path, *overrides, "verification.sets={}", steps=steps, seed=0)[2] for steps in (few, few, more)
    )
    return rounded(max(1e-3, (four - one) / (more - few)))


def train(path: Path, *overrides: str, steps: int | None, seed: int) -> tuple[Config, dict[str, Any], float]:
    """One run in this process; its config, its last verification, and the processor time of all of it.

    steps: how many, with a warm-up of a tenth and one verification at the end; None: as the config says.
    """
    length = () if steps is None else _length(steps)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        config = load_config(
            path,
            [
                *(f"run.dir={run}", f"run.seed={seed}", "metrics.port=null", "train.threads=1"),
                *length,
                *overrides,
            ],
        )
        began = time.process_time()
        with contextlib.redirect_stdout(io.StringIO()):
            run_config(config)
        spent = time.process_time() - began
        records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    last = [each for each in records if each["event"] == "verification"][-1:]
    return config, last[0] if last else {}, spent


def _length(steps: int) -> tuple[str, ...]:
    return (
        *("train.epochs=null", f"train.steps={steps}", f"train.log_every={steps}"),
        *("schedule.warmup_epochs=null", f"schedule.warmup_steps={steps // 10}"),
        *("verification.at_start=false", "verification.every_epochs=null"),
        *(f"verification.every_steps={steps}", "checkpoint.every_epochs=null"),
        f"checkpoint.every_steps={steps}",
    )


def _summarise(rows: Sequence[dict[str, str]]) -> None:
    print(
        f"{'set':>8}  {'config':>11}  {'seconds':>7}  {'seeds':>5}  {'steps':>6}  {'processor s':>11}  "
        f"{'pair accuracy':>16}  {'TAR at FAR 1e-3':>16}"
    )
    for key in dict.fromkeys((row["set"], row["config"], row["seconds"]) for row in rows):
        own = [row for row in rows if (row["set"], row["config"], row["seconds"]) == key]
        shown = [
            f"{statistics.mean(values):>8.2%} ± {statistics.pstdev(values):>4.2%}"
            for name in ("accuracy", "tar_at_far_1e-3")
            if (values := [float(row[name]) for row in own])
        ]
        spent = statistics.mean(float(row["processor_seconds"]) for row in own)
        print(
            f"{key[0]:>8}  {key[1]:>11}  {key[2]:>7}  {len(own):>5}  {own[0]['steps']:>6}  {spent:>11.0f}  "
            f"{'  '.join(shown)}"
        )


if __name__ == "__main__":
    main()
