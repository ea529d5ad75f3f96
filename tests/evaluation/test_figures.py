"""Figures in words and as values, and the intervals of means by identity."""

import numpy as np
import pytest

from partialfc.evaluation.bootstrap import Interval, draw_counts, interval
from partialfc.evaluation.figures import Figures, mean_interval


def test_in_words_and_as_values():
    found = Figures(
        {"queries": 7, "without_mate": 1},
        {"recall@1": 0.5, "tar@far=1e-6": None, "mAP": 1.0},
        {"recall@1": Interval(0.25, 0.75), "mAP": None},
        dtype="float32",
    )
    assert found.describe() == (
        "7 queries, 1 without mate in float32: recall@1 50.00% [25.00%, 75.00%], "
        "TAR@FAR=1e-6 n/a, too few impostors, mAP 100.00% [too few identities]"
    )
    assert found.to_dict()["intervals"] == {"recall@1": (0.25, 0.75), "mAP": None}
    of_pairs = Figures({"pairs": 9}, {"auc": 0.99123, "eer": 0.1}, {"auc": Interval(0.98, 1.0)})
    assert of_pairs.describe() == "9 pairs: AUC 0.9912 [0.9800, 1.0000], EER 10.00%"  # as Verification's
    assert Figures({"images": 1}, {"eer": 0.1}).to_dict() == {"images": 1, "eer": 0.1}


def test_a_mean_by_identity_as_by_loops():
    generator = np.random.default_rng(0)
    values, weights = generator.random(40), generator.integers(0, 3, 40).astype(float)
    identities = generator.integers(10, 17, 40)
    known = sorted(set(identities[weights > 0].tolist()))
    means = []
    for (counts,) in draw_counts(len(known), 200, 5, row=4_000_000):
        times = np.array([counts[known.index(each)] if each in known else 0 for each in identities])
        means.append(np.average(values, weights=weights * times))
    found = mean_interval(values, weights, identities, replicates=200, seed=5)
    assert tuple(found) == pytest.approx(tuple(interval(np.array(means))))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_mean_without_exception(value):
    found = mean_interval(np.full(6, value), np.ones(6), np.arange(6) // 2, replicates=10, seed=0)
    width = 1 - 0.025 ** (1 / 3)
    assert tuple(found) == pytest.approx((1 - width, 1.0) if value else (0.0, width))
