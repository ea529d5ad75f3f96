"""What a margin costs: a step of the head with each, over a step with ArcFace that takes turns with it.

    python benchmarks/margin_cost.py --output benchmarks/margin_cost.csv

1M classes, a tenth of them a step, products in bfloat16; the rest as in head.py. Each margin takes turns with
ArcFace, in two processes. CurricularFace and MVSoftmax compute more for each exponential, margins that keep
norms look for the largest logit, and three centres to a class are three times the centres.
"""

import argparse
from dataclasses import replace

import ours
import table
import torch
from arguments import parser_of
from groups import started
from turns import take_turns
from work import SAMPLED, Work


def measure(work: Work, margin: str, options: argparse.Namespace) -> list[table.Row]:
    """The rows of ArcFace and of the margin."""
    works = [work, replace(work, margin=margin)]
    with started([(ours.Ours, each) for each in works]) as groups:
        timings = take_turns(groups, warmup=options.warmup, steps=options.steps)
    least = timings[0].p50
    return [
        {"against": margin, "margin": each.margin, **each.columns(), **timing.columns()}
        | {"over_arcface": table.rounded(timing.p50 / least)}
        | table.surroundings()
        for each, timing in zip(works, timings, strict=True)
    ]


def main() -> None:
    options = parser_of(__doc__, cases=[name for name in ours.MARGINS if name != "ArcFace"]).parse_args()
    classes, sample_rate = SAMPLED
    work = Work(
        classes // options.shrink,
        sample_rate,
        options.threads,
        compute=torch.bfloat16,
        batch=options.batch,
        device=options.device,
    )
    rows = []
    for margin in options.cases:
        rows += measure(work, margin, options)
        last = rows[-1]
        print(
            f"{margin:20} {last['median_s']:8.3f} s, {last['over_arcface']:5.2f} times ArcFace's", flush=True
        )
    if options.output:
        table.write(options.output, rows)


if __name__ == "__main__":
    main()
