"""Pair accuracy and TAR at FAR 1e-3 by loss, on characters that were not in training: mean and spread.

    partialfc data glyphs data/glyphs
    python benchmarks/margins.py --data data/glyphs --output benchmarks/margins.csv

Every loss of the library trains the same small backbone on the same batches: margin_variants.py has their
settings, margin_run.py a run. `--parallel` runs go at a time, each on one thread; a row is written when its
run is done, and a run that has a row is not made again, so this can be stopped and started. About 25 minutes
on two cores.

Each loss is compared with another one, seed by seed: the mean of the differences against its standard error.
Beyond the critical value of Student's t at 5 % it is called significant.
"""

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from margin_run import Task, run
from margin_table import SCORES, lines
from margin_variants import VARIANTS
from table import Row, read, surroundings, write

KEY = ("loss", "settings", "against", "seed", "steps", "classes", "unseen")


def main() -> None:
    options = _arguments()
    task = Task(options.data, options.classes, options.unseen, options.steps)
    rows: list[Row] = [*read(options.output)] if options.output.exists() else []
    _check(rows, task, options.output)
    done = {_key(row) for row in rows}
    wanted = [_row(loss, seed, task) for seed in options.seeds for loss in options.losses]
    missing = [row for row in wanted if _key(row) not in done]
    print(f"{len(wanted) - len(missing)} of {len(wanted)} runs are there", flush=True)
    context = multiprocessing.get_context("forkserver")  # a process has its own number of threads
    context.set_forkserver_preload(["partialfc", "torch._dynamo"])  # what torch's optimizers import too
    with ProcessPoolExecutor(options.parallel, mp_context=context) as pool:
        runs = {pool.submit(run, task, VARIANTS[row["loss"]], row["seed"]): row for row in missing}
        for each in as_completed(runs):
            row = runs[each] | each.result() | surroundings()
            rows.append(row)
            rows.sort(key=lambda row: (list(VARIANTS).index(row["loss"]), int(row["seed"])))
            write(options.output, rows)
            print(*(row[name] for name in ("loss", "seed", *SCORES, "seconds")), sep=", ", flush=True)
    print("", *lines(rows, "loss"), sep="\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/glyphs"))
    parser.add_argument("--losses", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="LOSS")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--classes", type=int, default=400, help="that are trained on")
    parser.add_argument("--unseen", type=int, default=300, help="other classes, whose images are paired")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


def _row(loss: str, seed: int, task: Task) -> Row:
    """What is known of a run before it."""
    return {
        "loss": loss,
        "settings": VARIANTS[loss].settings,
        "against": VARIANTS[loss].against,
        "seed": seed,
        "steps": task.steps,
        "classes": task.classes,
        "unseen": task.unseen,
    }


def _key(row: Row) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in KEY)


def _check(rows: list[Row], task: Task, path: Path) -> None:
    """Rows of other settings cannot stand beside the new ones."""
    for row in rows:
        if row["loss"] not in VARIANTS or _key(row) != _key(_row(row["loss"], row["seed"], task)):
            raise SystemExit(
                f"{path} has a row of {row['loss']}, seed {row['seed']}, with other settings or another "
                "budget: remove such rows, or name another --output"
            )


if __name__ == "__main__":
    main()
