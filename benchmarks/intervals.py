"""How often the intervals of a verification's figures hold the truth, by identity and by pair.

    python benchmarks/intervals.py --output benchmarks/intervals.csv

Simulated people, some hard to recognise and some like many others, so that pairs of one person depend on each
other. The truth is the mean over large sets. dense: 40 people, all of their genuine and all impostor pairs.
sparse: 60 people in 120 impostor pairs, so that each stands in few. By pair: each pair is a unit of its own.
Beside it, the processor time of 1000 draws on 12,000 pairs.
"""

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import table

from partialfc.evaluation.intervals import with_intervals
from partialfc.evaluation.verification import verify

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.evaluation.simulated import (
    FIGURES,
    held,
    intervals,
    simulated,
    truth,
)

DESIGNS = {"dense": (40, None), "sparse": (60, 120)}  # people, and impostor pairs; None: all


def coverage(
    design: str, unit: str, true: Mapping[str, float], *, sets: int, replicates: int
) -> list[table.Row]:
    """A row for each figure: the share of sets whose interval holds the truth, and how wide it is."""
    people, impostors = DESIGNS[design]
    drawn = (simulated(people, impostors=impostors, seed=number) for number in range(sets))
    found = intervals(drawn, by_pair=unit == "pair", replicates=replicates)
    return [
        {
            "design": design,
            "unit": unit,
            "figure": name,
            "truth": round(true[name], 4),
            "coverage": round(held(found[name], true[name]) / sets, 3),
            "mean_width": round(float(np.mean([ends.high - ends.low for ends in found[name]])), 4),
            "sets": sets,
            "replicates": replicates,
        }
        for name in FIGURES
    ]


def seconds_of_draws() -> float:
    """Processor seconds of 1000 draws on 12,000 pairs of 400 people."""
    scores, same, identities = simulated(2000, impostors=6000, seed=0)
    identities = identities % 400
    plain = verify(scores, same)
    started = time.process_time()
    with_intervals(plain, scores, same, identities, replicates=1000)
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", type=int, default=400)
    parser.add_argument("--replicates", type=int, default=400)
    parser.add_argument("--large-sets", type=int, default=40, help="for the truth")
    parser.add_argument("--output", type=Path, help="CSV file; without it the rows go to the screen only")
    options = parser.parse_args()
    true = truth(simulated(400, seed=1_000_000 + number) for number in range(options.large_sets))
    rows = [
        row
        for design in DESIGNS
        for unit in ("identity", "pair")
        for row in coverage(design, unit, true, sets=options.sets, replicates=options.replicates)
    ]
    for row in rows:
        print(
            f"{row['design']:8}by {row['unit']:10}{row['figure']:14}truth {row['truth']:.4f}  held in "
            f"{row['coverage']:6.1%} of {row['sets']} sets, mean width {row['mean_width']:.4f}"
        )
    print(f"1000 draws on 12,000 pairs: {seconds_of_draws():.2f} s of one core")
    if options.output:
        table.write(options.output, [row | table.surroundings() for row in rows])


if __name__ == "__main__":
    main()
