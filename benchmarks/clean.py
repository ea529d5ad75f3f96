"""Labels made wrong on purpose: how many are found, and what training on the rest gains.

    partialfc data glyphs data/glyphs
    python benchmarks/clean.py estimates --output benchmarks/clean_estimates.csv
    python benchmarks/clean.py retraining --output benchmarks/clean_retraining.csv
    python benchmarks/clean.py classes --output benchmarks/clean_classes.csv

The quickstart's network learns glyphs of which a share have another label, each of the others as likely.
Nothing but these labels is known to it. Then `partialfc data clean` says which are wrong.
  estimates: for each of --shares, how many it finds, and whether what it expects is true; and how many images
    with a wrong label lie nearest to the trained centre of that label (`learned_by_heart`).
  retraining: for each of --seeds, pairs of other characters verify a network that learned the right labels
    (`clean`), one that learned the wrong ones among them (`noisy`), and one that learned what is left of
    these (`cleaned`). The seed is that of the flips and of the training.
  classes: some classes are cut into two ids, and some pairs of classes put together under one id; then labels
    are flipped. How many of these are found.

Each training is a `partialfc train` on one thread, about 0.8 ms an image, and stays in --folder, where it is
not made again; a row is written when its run is done.
"""

import argparse
import contextlib
import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from clean_data import Noisy, cut_and_joined, flipped, look_alike
from table import Row, surroundings, write
from torch import Tensor
from torch.nn.functional import normalize

from partialfc.cleaning.document import leave_out_lines
from partialfc.cleaning.findings import Findings, find_all
from partialfc.config import load_config
from partialfc.data.benchmarks.image_set import of_source
from partialfc.data.sources.keys import write_keys
from partialfc.data.sources.source import open_source
from partialfc.deploy.class_centres import centres_of
from partialfc.deploy.trained import load_trained
from partialfc.deploy.unit_embeddings import unit_embeddings
from partialfc.training.run import train

CONFIG = Path(__file__).parents[1] / "configs" / "quickstart.yaml"
SCORES = {"accuracy": "accuracy", "tar_at_far_1e-3": "tar@far=1e-3"}


def main() -> None:
    options = _arguments()
    torch.set_num_threads(1)
    rows: list[Row] = []
    parts = {"estimates": _estimates, "retraining": _retraining, "classes": _classes}
    for row in parts[options.part](options):
        rows.append(row | {"steps": options.steps, "batch": options.batch} | surroundings())
        print(json.dumps(row), flush=True)
        if options.output:
            write(options.output, rows)
    if options.part == "retraining":
        _print(rows)


def _estimates(options: argparse.Namespace) -> Iterator[Row]:
    for share in options.shares:
        folder = _folder(share, options.seeds[0], options)
        row = _noisy(share, options.seeds[0], options)
        yield row | {"by": options.by, "learned_by_heart": _learned_by_heart(folder, share, options)}


def _retraining(options: argparse.Namespace) -> Iterator[Row]:
    share = options.shares[-1]
    for seed in options.seeds:
        folder = _folder(share, seed, options)
        yield _noisy(share, seed, options)
        leave_out = [f"data.leave_out={folder / 'wrong.txt'}"]
        data = flipped(options.data, folder, share=share, seed=seed, limit=options.limit)
        verified = _train(folder / "cleaned", data.path, seed, options, more=leave_out)
        yield _row("cleaned", share, seed, data, verified)
        yield _noisy(0.0, seed, options) | {"training": "clean"}


def _noisy(share: float, seed: int, options: argparse.Namespace) -> Row:
    """Learn labels of which a share is wrong, and find those."""
    folder = _folder(share, seed, options)
    data = flipped(options.data, folder, share=share, seed=seed, limit=options.limit)
    verified = _train(folder / "run", data.path, seed, options)
    found = _find(folder / "run", data, options)
    lines = leave_out_lines(found, open_source(data.path), torch.from_numpy(data.given))
    write_keys(folder / "wrong.txt", lines)
    return _row("noisy", share, seed, data, verified) | _figures(found, data)


def _folder(share: float, seed: int, options: argparse.Namespace) -> Path:
    folder: Path = options.folder / f"{options.limit or 'all'}-{options.steps}-{share}-{seed}"
    return folder


def _classes(options: argparse.Namespace) -> Iterator[Row]:
    for share in options.shares:
        yield _rearranged(share, options)


def _rearranged(share: float, options: argparse.Namespace) -> Row:
    """Duplicate and mixed classes among all; those that look alike in the pixels are not counted as wrong."""
    folder = options.folder / f"classes-{options.steps}-{share}"
    made = cut_and_joined(options.data, folder, count=options.count, share=share, seed=5)
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
    rows, labels, centres = _embedded(run, data)
    given = {"centres": centres} if options.by == "centres" else {}
    return find_all(rows, labels, int(labels.max()) + 1, precision=options.precision, **given)


def _embedded(run: Path, data: Noisy) -> tuple[Tensor, Tensor, Tensor]:
    """Unit embeddings [n, D], given labels [n], and the trained centres [C, D]."""
    source, trained = open_source(data.path), load_trained(run)
    images = of_source(source)
    rows = unit_embeddings(trained, images, device=torch.device("cpu"))
    return rows, torch.from_numpy(images.labels), centres_of(trained, source)


def _learned_by_heart(folder: Path, share: float, options: argparse.Namespace) -> float | str:
    """The share of images with a wrong label that lie nearest to the trained centre of that label."""
    data = flipped(options.data, folder, share=share, seed=options.seeds[0], limit=options.limit)
    rows, labels, centres = _embedded(folder / "run", data)
    wrong = torch.from_numpy(data.wrong)
    if not wrong.any():
        return ""
    columns = normalize(centres.float()).T
    nearest = torch.cat([(part.float() @ columns).argmax(1) for part in rows[wrong].split(1024)])
    return round(float((nearest == labels[wrong]).float().mean()), 4)


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
    scores = {score: _percent(verified[key]) for score, key in SCORES.items()}
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


def _percent(share: float | None) -> float:
    """NaN where there are too few pairs to say it."""
    return math.nan if share is None else round(100 * share, 3)


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
    parser.add_argument("part", choices=("estimates", "retraining", "classes"))
    parser.add_argument("--data", type=Path, default=Path("data/glyphs"))
    parser.add_argument("--folder", type=Path, default=Path("runs/clean"), help="where data and runs stay")
    parser.add_argument(
        "--shares",
        type=float,
        nargs="+",
        help="of labels that are flipped; default: 0, 0.05, 0.2, 0.4 for estimates, else 0.2",
    )
    parser.add_argument("--precision", type=float, default=0.97)
    parser.add_argument(
        "--by", choices=("means", "centres"), default="means", help="as of partialfc data clean"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--limit", type=int, help="of classes; default: all")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--count", type=int, default=40, help="classes to cut, and pairs of them to join")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if options.shares is None:
        options.shares = [0.0, 0.05, 0.2, 0.4] if options.part == "estimates" else [0.2]
    return options


if __name__ == "__main__":
    main()
