"""Figures of an evaluation with their intervals, ready to be printed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from partialfc.evaluation.bootstrap import Interval, draw_counts, interval, without_errors


@dataclass(frozen=True)
class Figures:
    """counts: how many images, pairs, classes and the like there are. rates: by name, each in [0, 1]; None
    where the set is too small to say. intervals: of the rates, of 95 %; missing, where none were asked for;
    None, where there are too few identities. thresholds: of rates, likewise by name. dtype: of the network's
    products, such as "bfloat16"; None: not known.
    """

    counts: Mapping[str, int]
    rates: Mapping[str, float | None]
    intervals: Mapping[str, Interval | None] = field(default_factory=dict)
    thresholds: Mapping[str, float | None] = field(default_factory=dict)
    dtype: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; what is empty is left out, but for the rates."""
        found: dict[str, Any] = {**self.counts, **self.rates}
        if self.dtype is not None:
            found["dtype"] = self.dtype
        if self.thresholds:
            found["thresholds"] = dict(self.thresholds)
        if self.intervals:
            found["intervals"] = dict(self.intervals)
        return found

    def describe(self) -> str:
        """All in one line."""
        counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in self.counts.items())
        rates = ", ".join(f"{self.spelled(name)} {self._rate(name)}" for name in self.rates)
        dtype = "" if self.dtype is None else f" in {self.dtype}"
        return f"{counts}{dtype}: {rates}"

    def _rate(self, name: str) -> str:
        rate = self.rates[name]
        if rate is None:
            return "n/a, too few impostors"
        shown = "{:.4f}" if name == "auc" else "{:.2%}"
        if name not in self.intervals:
            return shown.format(rate)
        found = self.intervals[name]
        ends = "too few identities" if found is None else ", ".join(map(shown.format, found))
        return f"{shown.format(rate)} [{ends}]"

    @staticmethod
    def spelled(name: str) -> str:
        """ "tar@far=1e-6" -> "TAR@FAR=1e-6", "auc" -> "AUC"; "rank-1" as it is."""
        if name in ("auc", "eer"):
            return name.upper()
        return name.upper().replace("E-", "e-") if "@" in name and name[:3] in ("tar", "tpi") else name


def mean_interval(
    values: np.ndarray, weights: np.ndarray, identities: np.ndarray, *, replicates: int, seed: int
) -> Interval | None:
    """The 95 % interval of a weighted mean whose unit is the identity.

    values [Q] in [0, 1], weights [Q] from 0 on, identities [Q], any whole numbers. Identities are drawn with
    replacement, and all that belongs to one counts as often as it was drawn; where all values are 0 or all 1,
    it is that of `without_errors`.
    """
    used = weights > 0
    names, own = np.unique(identities[used], return_inverse=True)
    sums = np.bincount(own, weights=(values * weights)[used], minlength=len(names))
    totals = np.bincount(own, weights=weights[used], minlength=len(names))
    if sums.sum() in (0, totals.sum()):
        width = without_errors(len(names))
        return Interval(0.0, width) if not sums.any() else Interval(1 - width, 1.0)
    means = [
        counts @ sums / (counts @ totals)
        for counts in draw_counts(len(names), replicates, seed, row=len(names))
    ]
    return interval(np.concatenate(means))
