"""A class pool beside the full head, and beside Partial FC with as many rows, on 22,884 classes of glyphs.

    partialfc data glyphs data/han --fonts /usr/share/fonts --min-faces 12 --holdout 2000
    python benchmarks/pool.py --data data/han --output benchmarks/pool.csv

Every variant trains the same small backbone on as many batches of 128 images (pool_run.py), and is verified
on pairs of characters that were not in training. One run after another, on one thread; a row is written when
its run is done, and a run that has a row is not made again, so this can be stopped and started. CPU seconds
are those of the training alone. The images are decoded once, into the folder --cache.
"""

import argparse
import statistics
from itertools import groupby
from pathlib import Path

from pool_run import FARS, Variant, run
from table import Row, read, surroundings, write

VARIANTS = {
    "full head": Variant("head", 1.0),
    "Partial FC 10 %": Variant("head", 0.1),
    "pool 10 %": Variant("pool", 0.1),
    "Partial FC 1 %": Variant("head", 0.01),
    "pool 1 %": Variant("pool", 0.01),
}
KEY = ("variant", "seed", "steps")
SCORES = ("accuracy", *(f"tar_at_far_{far:g}" for far in FARS))


def main() -> None:
    options = _arguments()
    rows: list[Row] = [*read(options.output)] if options.output.exists() else []
    done = {_key(row) for row in rows}
    for seed in options.seeds:
        for name in options.variants:
            row: Row = {"variant": name, "seed": seed, "steps": options.steps}
            if _key(row) in done:
                continue
            cache = options.cache / f"{options.data.name}.npy"
            row |= run(options.data, cache, VARIANTS[name], seed=seed, steps=options.steps) | surroundings()
            rows.append(row)
            rows.sort(key=_place)
            write(options.output, rows)
            print(*(row[each] for each in ("variant", "seed", *SCORES, "cpu_seconds")), sep=", ", flush=True)
    scores = "pair accuracy | TAR at 1e-2 | TAR at 1e-3"
    print(f"\n| steps | classes stand as | rows | seeds | {scores} | CPU ms a step |")
    print("|---|---|---|---|---|---|---|---|")
    for (steps, _), alike in groupby(sorted(rows, key=_place), key=lambda row: _place(row)[:2]):
        own = list(alike)
        kept = f"{own[0]['variant']} | {int(own[0]['rows']):,} | {len(own)}"
        print(f"| {steps:,} | {kept} | {' | '.join(_figures(own))} |")


def _place(row: Row) -> tuple[int, int, int]:
    """Of a row in the table: runs of one length together, then those of one variant."""
    return int(row["steps"]), list(VARIANTS).index(str(row["variant"])), int(row["seed"])


def _figures(rows: list[Row]) -> list[str]:
    shown = [_shown([float(row[score]) for row in rows]) for score in SCORES]
    per_step = [1e3 * float(row["cpu_seconds"]) / int(row["steps"]) for row in rows]
    return [*shown, f"{statistics.mean(per_step):.0f}"]


def _shown(values: list[float]) -> str:
    """The mean, and how far the seeds lie from it."""
    half = (max(values) - min(values)) / 2
    return f"{statistics.mean(values):.2f} ± {half:.2f}"


def _key(row: Row) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in KEY)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/han"))
    parser.add_argument("--cache", type=Path, default=Path("data/decoded"))
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="VARIANT")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
