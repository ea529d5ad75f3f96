"""The figures of benchmarks/margins.csv: means and spreads by loss, and which differences are significant."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

Row = Mapping[str, Any]
BySeed = Mapping[int, Row]

SCORES = {"accuracy": "pair accuracy", "tar_at_far_1e-3": "TAR at FAR 1e-3"}
CRITICAL = (
    12.706,
    4.303,
    3.182,
    2.776,
    2.571,
    2.447,
    2.365,
    2.306,
    2.262,
)  # |t| at 5 %, 1.. degrees of freedom


@dataclass(frozen=True)
class Difference:
    """Of one score, in percentage points, to another loss's with the same seeds."""

    mean: float
    error: float  # standard error of the mean
    significant: bool


@dataclass(frozen=True)
class Summary:
    """A loss's figures, by the names of SCORES, in percent: mean and standard deviation over its seeds."""

    loss: str
    settings: str
    seeds: int
    against: str
    scores: Mapping[str, tuple[float, float | None]]  # no deviation of a single seed
    differences: Mapping[str, Difference]  # empty where fewer than two seeds have both

    def figures(self) -> str:
        return "  ".join(_shown(mean, spread) for mean, spread in self.scores.values())

    def comparisons(self) -> Iterator[str]:
        for score, difference in self.differences.items():
            verdict = "significant" if difference.significant else "not significant"
            yield (
                f"{SCORES[score]}: {difference.mean:+.2f} ± {difference.error:.2f} points to {self.against}, "
                f"{verdict}"
            )


def summaries(rows: Sequence[Row]) -> list[Summary]:
    """The rows of the CSV, a loss at a time; each is compared with the loss that `against` names."""
    by_loss: dict[str, dict[int, Row]] = {}
    for row in rows:
        by_loss.setdefault(row["loss"], {})[int(row["seed"])] = row
    return [_summary(loss, own, by_loss) for loss, own in by_loss.items()]


def lines(rows: Sequence[Row], what: str) -> Iterator[str]:
    """The figures as text, and below each loss its comparisons. what: the heading of the first column."""
    yield f"{what:>32}  {'seeds':>5}  " + "  ".join(f"{score:>18}" for score in SCORES.values())
    for summary in summaries(rows):
        yield f"{summary.loss:>32}  {summary.seeds:>5}  {summary.figures()}"
        yield from (f"    {comparison}" for comparison in summary.comparisons())


def _summary(loss: str, own: BySeed, by_loss: Mapping[str, BySeed]) -> Summary:
    first = next(iter(own.values()))
    against = first["against"]
    other = by_loss.get(against, {})
    both = sorted(own.keys() & other.keys()) if loss != against else []
    scores, differences = {}, {}
    for score in SCORES:
        values = [float(row[score]) for row in own.values()]
        scores[score] = statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None
        if len(both) > 1:
            differences[score] = compared(
                [float(own[seed][score]) - float(other[seed][score]) for seed in both]
            )
    return Summary(loss, first["settings"], len(own), against, scores, differences)


def _shown(mean: float, spread: float | None) -> str:
    return f"{mean:>7.2f} %" + (" " * 9 if spread is None else f" ± {spread:>4.2f} %")


def compared(differences: Sequence[float]) -> Difference:
    """A paired t test at 5 %, two-sided, of two values or more."""
    mean, error = statistics.mean(differences), statistics.stdev(differences) / sqrt(len(differences))
    critical = CRITICAL[min(len(differences) - 1, len(CRITICAL)) - 1]
    return Difference(mean, error, abs(mean) > critical * error)
