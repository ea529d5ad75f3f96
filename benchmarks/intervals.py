"""How often the intervals of a verification's figures hold the truth, by identity and by pair.

    python benchmarks/intervals.py --output benchmarks/intervals.csv

Simulated people, some hard to recognise and some like many others, so that pairs of one person depend on each
other. The truth is the mean over large sets. dense: 40 people, all of their genuine and all impostor pairs.
sparse: 60 people in 120 impostor pairs, so that each stands in few. By pair: each pair is a unit of its own.
Beside it, the processor time of 1000 draws on 12,000 pairs.
"""

import argparse
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import table

from partialfc.evaluation.bootstrap import interval
from partialfc.evaluation.intervals import resampled, with_intervals
from partialfc.evaluation.verification import tar_key, verify

FIGURES = ("auc", "eer", tar_key(0.1))
DESIGNS = {"dense": (40, None), "sparse": (60, 120)}  # people, and impostor pairs; None: all
IMAGES = 3  # of each person, and so as many genuine pairs


def simulated(people: int, impostors: int | None, *, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """scores [P], same [P] and identities [P, 2]."""
    rng = np.random.default_rng(seed)
    hard, like = rng.normal(size=(2, people))
    within = np.repeat(np.arange(people), IMAGES)
    first, second = np.triu_indices(people, 1)
    if impostors is not None:
        chosen = rng.choice(len(first), impostors, replace=False)
        first, second = first[chosen], second[chosen]
    genuine = 3 - hard[within] + rng.normal(size=len(within))
    impostor = like[first] + like[second] + rng.normal(size=len(first))
    identities = np.stack([np.append(within, first), np.append(within, second)], 1)
    same = np.repeat([True, False], [len(within), len(first)])
    order = rng.permutation(len(same))
    return np.append(genuine, impostor)[order], same[order], identities[order]


def truth(sets: int) -> Mapping[str, float]:
    """The mean of each figure over so many sets of 400 people."""
    drawn = (simulated(400, None, seed=1_000_000 + number) for number in range(sets))
    rows = [verify(scores, same, folds=2, fars=[0.1]).to_dict() for scores, same, _ in drawn]
    return {name: float(np.mean([row[name] for row in rows])) for name in FIGURES}


def coverage(
    design: str, unit: str, true: Mapping[str, float], *, sets: int, replicates: int
) -> list[table.Row]:
    """A row for each figure: the share of sets whose interval holds the truth, and how wide it is."""
    inside, widths = dict.fromkeys(FIGURES, 0), {name: list[float]() for name in FIGURES}
    for number in range(sets):
        scores, same, identities = simulated(*DESIGNS[design], seed=number)
        if unit == "pair":
            identities = np.arange(len(scores)).repeat(2).reshape(-1, 2)
        found = resampled(scores, same, identities, folds=2, fars=[0.1], replicates=replicates, seed=number)
        for name in FIGURES:
            if (ends := interval(found[name])) is not None:
                inside[name] += ends.low <= true[name] <= ends.high
                widths[name].append(ends.high - ends.low)
    return [
        {
            "design": design,
            "unit": unit,
            "figure": name,
            "truth": round(true[name], 4),
            "coverage": round(inside[name] / sets, 3),
            "mean_width": round(float(np.mean(widths[name])), 4),
            "sets": sets,
            "replicates": replicates,
        }
        for name in FIGURES
    ]


def seconds_of_draws() -> float:
    """Processor seconds of 1000 draws on 12,000 pairs of 400 people."""
    scores, same, identities = simulated(2000, 6000, seed=0)
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
    true = truth(options.large_sets)
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
