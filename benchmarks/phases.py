"""Where the time of the head's step goes, part by part, beside the floor's share of each.

    python benchmarks/phases.py --output benchmarks/phases.csv

The sampled and the full case of head.py, float32 and bfloat16, ours and the floor in turns; medians of each
part. On a CPU every call ends with its work done, so a part is the wall time of its calls.

    gather         centres read, what they owe paid, normalised, cast (kernel)
    cosines        GEMM of pass 1
    exponentials   exp, mask, cast (kernel), and their sums
    pull           GEMM of pass 1, on the embeddings
    push           GEMM of pass 2, on the centres
    update         gradient projected, rows and momentum moved and written (kernel)
    sampling       which rows take part, where the targets lie among them, their cosines
    rest           the checks of the batch, autograd, the optimizer's own Python, whatever is not above
"""

import argparse
import statistics
from dataclasses import replace

import floor
import ours
import table
from arguments import parser_of
from floor import COSINES, GATHER, PULL, PUSH, UPDATE
from groups import started
from stopwatch import Stopwatch
from turns import take_turns
from work import DTYPES, FULL, SAMPLED, Work, name_of

from partialfc.head import gradient, sampled_softmax, softmax
from partialfc.head.kernels import elementwise

EXPONENTIALS, SAMPLING, REST = "exponentials", "sampling", "rest"
CASES = {"sampled": SAMPLED, "full": FULL}


class Timed(ours.Ours):
    """The head with a stopwatch on its parts."""

    def __init__(self, work: Work, rank: int) -> None:
        super().__init__(work, rank)
        self._watch = Stopwatch()
        self._watch.replace(elementwise, "used_centres", GATHER)
        self._watch.replace(softmax, "cosines", COSINES)
        self._watch.replace(gradient, "cosines", COSINES)
        self._watch.replace(softmax.Softmax, "exponentials", EXPONENTIALS)
        self._watch.replace(softmax, "add_pull", PULL)
        self._watch.replace(gradient.BatchGradient, "by_centres", PUSH)
        self._watch.replace(elementwise, "sgd", UPDATE)
        for name in ("targets_here", "participating_rows", "targets_of_shard", "local_batch"):
            self._watch.replace(sampled_softmax, name, SAMPLING)
        self._laps: list[dict[str, float]] = []

    def step(self) -> float:
        seconds = super().step()
        parts = self._watch.lap()
        self._laps.append(parts | {REST: seconds - sum(parts.values())})
        return seconds

    def parts(self, steps: int) -> dict[str, float]:
        """The median seconds of each part over the last `steps` steps."""
        last = self._laps[-steps:]
        return {part: statistics.median(lap[part] for lap in last) for part in last[0]}


def measure(case: str, work: Work, options: argparse.Namespace) -> list[table.Row]:
    with started([(Timed, work), (floor.Floor, work)]) as groups:
        timing, least = take_turns(groups, warmup=options.warmup, steps=options.steps)
        (parts,), (floors,) = (group.call("parts", options.steps) for group in groups)
    same = {"case": case} | work.columns() | table.surroundings()
    totals = {"step_s": table.rounded(timing.p50), "step_floor_s": table.rounded(least.p50)}
    return [
        same
        | totals
        | {
            "part": part,
            "median_s": table.rounded(seconds),
            "share": round(seconds / timing.p50, 3),
            "floor_s": table.rounded(floors.get(part, 0.0)),
        }
        for part, seconds in parts.items()
    ]


def show(rows: list[table.Row]) -> None:
    first = rows[0]
    print(
        f"{first['case']}, {first['compute']}: a step {1000 * first['step_s']:.1f} ms, "
        f"the floor {1000 * first['step_floor_s']:.1f} ms"
    )
    for row in rows:
        print(
            f"    {row['part']:14}{1000 * row['median_s']:8.1f} ms {row['share']:6.1%}"
            f"    floor {1000 * row['floor_s']:8.1f} ms"
        )


def main() -> None:
    parser = parser_of(__doc__, cases=list(CASES))
    parser.add_argument("--compute", nargs="+", choices=[name_of(dtype) for dtype in DTYPES])
    options = parser.parse_args()

    rows = []
    for case in options.cases:
        classes, sample_rate = CASES[case]
        work = Work(classes // options.shrink, sample_rate, options.threads)
        for dtype in DTYPES:
            if options.compute and name_of(dtype) not in options.compute:
                continue
            measured = measure(case, replace(work, compute=dtype), options)
            show(measured)
            rows += measured
            if options.output:
                table.write(options.output, rows)


if __name__ == "__main__":
    main()
