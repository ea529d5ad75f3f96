"""Labels made wrong on purpose: how many are found, and what training on the rest gains.

    partialfc data glyphs data/glyphs
    python benchmarks/clean.py --output benchmarks/clean.csv

The quickstart's network learns the glyphs (`clean`), then with a share of their labels flipped to any other
class (`noisy`), and then without the images that `partialfc data clean` finds by that second run (`cleaned`).
Nothing but the labels with their flips is known to it. Pairs of other characters verify each run. The seed
is that of the flips and of the training; flips of other shares are made with the first seed only, and tell
whether the estimates are true. Each training is a `partialfc train` on one thread and stays in --folder,
where it is not made again; a row is written when its run is done. About 100 s of one core a run.

With --classes, `clean` runs on glyphs of which some classes are cut into two ids, and some pairs of classes
put together under one id, without flips and with flips; the row says how many of these are found.
"""

import argparse
import contextlib
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from clean_data import Noisy, cut_and_joined, flipped, look_alike
from table import Row, surroundings, write

from partialfc.cleaning.document import leave_out_lines
from partialfc.cleaning.findings import Findings, find_all
from partialfc.config import load_config
from partialfc.data.benchmarks.image_set import of_source
from partialfc.data.sources.keys import write_keys
from partialfc.data.sources.source import open_source
from partialfc.deploy.trained import load_trained
from partialfc.deploy.unit_embeddings import unit_embeddings
from partialfc.training.run import train

CONFIG = Path(__file__).parents[1] / "configs" / "quickstart.yaml"
SCORES = {"accuracy": "accuracy", "tar_at_far_1e-3": "tar@far=1e-3"}


def main() -> None:
    options = _arguments()
    torch.set_num_threads(1)
    rows: list[Row] = []

    def add(row: Row) -> None:
        rows.append(row | {"steps": options.steps, "batch": options.batch} | surroundings())
        print(json.dumps(row), flush=True)
        if options.output:
            write(options.output, rows)

    if options.classes:
        for share in (0.0, options.noise):
            add(_classes(share, options))
        return
    for seed in options.seeds:
        folder = options.folder / f"{options.noise}-{seed}"
        noisy = flipped(options.data, folder, share=options.noise, seed=seed, limit=options.limit)
        verified = _train(folder / "run", noisy.path, seed, options)
        found = _find(folder / "run", noisy, options)
        add(_row("noisy", options.noise, seed, noisy, verified) | _figures(found, noisy))
        source = open_source(noisy.path)
        labels = torch.from_numpy(noisy.given)
        write_keys(folder / "wrong.txt", leave_out_lines(found, source, labels))
        leave_out = [f"data.leave_out={folder / 'wrong.txt'}"]
        verified = _train(folder / "cleaned", noisy.path, seed, options, more=leave_out)
        add(_row("cleaned", options.noise, seed, noisy, verified))
        add(_other(0.0, seed, "clean", options))
    for share in options.shares:
        add(_other(share, options.seeds[0], "noisy", options))
    _print(rows)


def _other(share: float, seed: int, training: str, options: argparse.Namespace) -> Row:
    folder = options.folder / f"{share}-{seed}"
    data = flipped(options.data, folder, share=share, seed=seed, limit=options.limit)
    verified = _train(folder / "run", data.path, seed, options)
    return _row(training, share, seed, data, verified) | _figures(_find(folder / "run", data, options), data)


def _classes(share: float, options: argparse.Namespace) -> Row:
    """Duplicate and mixed classes among all; those that look alike in the pixels are not counted as wrong."""
    folder = options.folder / f"classes-{share}"
    made = cut_and_joined(options.data, folder, count=options.classes, share=share, seed=5)
    verified = _train(folder / "run", made.noisy.path, 0, options)
    found = _find(folder / "run", made.noisy, options)
    pairs = {(pair.first, pair.second) for pair in found.duplicates}
    others = pairs - made.cut
    alike = look_alike(made.noisy, others)
    mixed = {each.class_id for each in found.mixed}
    return _row("noisy", share, 0, made.noisy, verified) | {
        "classes_cut": len(made.cut),
        "cut_found": len(pairs & made.cut),
        "other_pairs_found": len(others),
        "other_pairs_alike_in_pixels": alike,
        "classes_joined": len(made.joined),
        "joined_found": len(mixed & made.joined),
        "other_mixed_found": len(mixed - made.joined),
    }


def _find(run: Path, data: Noisy, options: argparse.Namespace) -> Findings:
    trained, images = load_trained(run), of_source(open_source(data.path))
    rows = unit_embeddings(trained, images, device=torch.device("cpu"))
    labels = torch.from_numpy(images.labels)
    return find_all(rows, labels, int(labels.max()) + 1, precision=options.precision)


def _figures(found: Findings, data: Noisy) -> Row:
    """What was expected, and what is true."""
    wrong = torch.from_numpy(data.wrong)
    left_out, right = found.wrong.left_out, found.wrong.left_out & wrong
    return {
        "estimated_noise": round(found.wrong.noise, 4),
        "left_out": int(left_out.sum()),
        "expected_precision": _share(found.wrong.precision),
        "precision": _share(float(right.sum() / left_out.sum()) if left_out.any() else None),
        "expected_recall": _share(found.wrong.recall),
        "recall": _share(float(right.sum() / wrong.sum()) if wrong.any() else None),
        "disputed": int(found.wrong.disputed.sum()),
    }


def _row(training: str, share: float, seed: int, data: Noisy, verified: Mapping[str, Any]) -> Row:
    scores = {score: round(100 * verified[key], 3) for score, key in SCORES.items()}
    return {
        "training": training,
        "noise": share,
        "seed": seed,
        "classes": int(data.true.max()) + 1,
        "images": len(data.given),
        **scores,
    }


def _train(
    run: Path, data: Path, seed: int, options: argparse.Namespace, *, more: Sequence[str] = ()
) -> dict[str, Any]:
    """A run of `partialfc train`, unless it is there; its last verification."""
    steps = options.steps
    overrides = [
        f"run={{dir: {run}, seed: {seed}}}",
        f"data.train={data}",
        f"train={{batch_size: {options.batch}, steps: {steps}, amp: auto, log_every: {steps}, threads: 1}}",
        f"schedule.warmup_steps={steps // 10}",
        f"verification={{sets: {{unseen: {options.data / 'pairs.bin'}}}, every_steps: {steps}}}",
        f"checkpoint={{every_steps: {steps}}}",
        "metrics.port=null",
        *more,
    ]
    found = _verified(run, steps)
    if found is None:
        with contextlib.redirect_stdout(None):
            train(load_config(CONFIG, overrides))
        found = _verified(run, steps)
    assert found is not None
    return found


def _verified(run: Path, steps: int) -> dict[str, Any] | None:
    log = run / "metrics.jsonl"
    records = map(json.loads, log.read_text().splitlines()) if log.exists() else ()
    return next((r for r in records if r["event"] == "verification" and r["step"] == steps), None)


def _share(value: float | None) -> float | str:
    return "" if value is None else round(value, 4)


def _print(rows: Sequence[Row]) -> None:
    print(f"\n{'training':>9}  {'seeds':>5}  {'pair accuracy':>16}  {'TAR at FAR 1e-3':>16}")
    for training, noise in sorted({(row["training"], row["noise"]) for row in rows}):
        own = [row for row in rows if (row["training"], row["noise"]) == (training, noise)]
        shown = [_mean([row[score] for row in own]) for score in SCORES]
        print(f"{training:>9}  {len(own):>5}  {shown[0]:>16}  {shown[1]:>16}   {noise:.0%} flipped")


def _mean(values: Sequence[float]) -> str:
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f} %{spread}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/glyphs"))
    parser.add_argument("--folder", type=Path, default=Path("runs/clean"), help="where data and runs stay")
    parser.add_argument("--noise", type=float, default=0.2, help="the share of labels that are flipped")
    parser.add_argument("--shares", type=float, nargs="*", default=[0.4, 0.05], help="further ones")
    parser.add_argument("--precision", type=float, default=0.95)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--limit", type=int, help="of classes; default: all")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--classes", type=int, default=0, help="cut and join so many, instead of the rest")
    parser.add_argument("--output", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
