"""What a teacher gives a small student, on characters that were not in training: mean and spread of 3 seeds.

    partialfc data glyphs data/glyphs
    python benchmarks/distillation.py --data data/glyphs --output benchmarks/distillation.csv

A wide network learns first; it is every student's teacher. Each student is a narrow one, trained on the same
batches as the others of its seed: distillation_run.py has what differs. Each is compared with another one,
seed by seed, as in margins.py. A row is written when its run is done, and a run that has a row is not made
again. Weights were chosen on seed 100, which is not among those of the figures. About 17 minutes on one
core.
"""

import argparse
from pathlib import Path

from distillation_run import STUDENTS, TEACHER, run
from margin_run import Task
from margin_table import SCORES, lines
from table import Row, read, surroundings, write

TEACHER_SEED = 0  # one teacher for all


def main() -> None:
    options = _arguments()
    task = Task(options.data, options.classes, options.unseen, options.steps)
    rows: list[Row] = [*read(options.output)] if options.output.exists() else []
    wanted = [(TEACHER, TEACHER_SEED)] + [(name, seed) for name in options.students for seed in options.seeds]
    for name, seed in wanted:
        row = {
            "loss": name,
            "settings": STUDENTS[name].settings,
            "against": STUDENTS[name].against,
            "seed": seed,
            "steps": task.steps * STUDENTS[name].lengths,
            "classes": task.classes,
            "unseen": task.unseen,
        }
        if any(all(str(each[key]) == str(value) for key, value in row.items()) for each in rows):
            continue
        row |= run(task, name, seed, teacher_seed=TEACHER_SEED) | surroundings()
        rows.append(row)
        rows.sort(key=lambda row: (list(STUDENTS).index(row["loss"]), int(row["seed"])))
        write(options.output, rows)
        print(*(row[key] for key in ("loss", "seed", *SCORES, "cpu_seconds")), sep=", ", flush=True)
    print("", *lines(rows, "student"), sep="\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    students = [name for name in STUDENTS if name != TEACHER]
    parser.add_argument("--data", type=Path, default=Path("data/glyphs"))
    parser.add_argument("--students", nargs="+", choices=students, default=students, metavar="STUDENT")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--classes", type=int, default=400, help="that are trained on")
    parser.add_argument("--unseen", type=int, default=300, help="other classes, whose images are paired")
    parser.add_argument("--steps", type=int, default=600, help="of a student; the teacher has twice as many")
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
