"""How a command calls several runs."""

from collections.abc import Sequence
from pathlib import Path


def names_of(runs: Sequence[Path]) -> dict[str, Path]:
    """A short name for each run: its folder's; where two have the same, the whole path."""
    short = [run.resolve().name for run in runs]
    return {name if short.count(name) == 1 else str(run): run for name, run in zip(short, runs, strict=True)}
