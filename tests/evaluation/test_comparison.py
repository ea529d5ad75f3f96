"""Two networks on the same pairs: the paired bootstrap, and McNemar's test beside SciPy's."""

import numpy as np
import pytest
from scipy.stats import binomtest

from partialfc.evaluation.bootstrap import draw_counts, pair_weights
from partialfc.evaluation.comparison import Comparison, Side, compare, mcnemar
from partialfc.evaluation.nearest import nearest, with_rank1
from partialfc.evaluation.verification import cross_validate, tar_key, verify
from tests.evaluation.definitions import slow_auc
from tests.evaluation.simulated import simulated


@pytest.mark.parametrize(
    ("first", "second"), [(0, 0), (1, 0), (0, 9), (5, 5), (10, 30), (400, 500), (3000, 2800)]
)
def test_mcnemar_is_the_exact_binomial_test(first: int, second: int) -> None:
    expected = binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar(first, second).p == pytest.approx(expected, rel=1e-6)


def both(seed: int, *, gain: float, people: int = 30, replicates: int = 120) -> Comparison:
    """Two networks with what a pair is like in common, and noise of their own; gain: of the second's."""
    scores, same, identities = simulated(people, seed=seed)
    rng = np.random.default_rng(seed + 10_000)
    sides = []
    for shift in (0.0, gain):
        own = scores + rng.normal(size=len(scores)) * 0.5 + shift * same
        sides.append(Side(verify(own, same, fars=(0.1,)), own))
    return compare(*sides, same, identities, folds=10, replicates=replicates)


def test_the_difference_and_its_replicates_are_those_of_a_loop() -> None:
    scores, same, identities = simulated(6, seed=0)
    other = scores + np.random.default_rng(1).normal(size=len(scores))
    sides = [Side(verify(each, same, folds=2, fars=(0.1,)), each) for each in (scores, other)]
    found = compare(*sides, same, identities, folds=2, replicates=40, seed=5)
    (counts,) = draw_counts(6, 40, 5, row=1)
    drawn = []
    for weights in pair_weights(counts, identities).tolist():
        flags = np.repeat(same, weights).tolist()
        first, second = (slow_auc(np.repeat(each, weights).tolist(), flags) for each in (scores, other))
        drawn.append(round(second - first, 12))
    low, high = np.quantile(drawn, [0.025, 0.975])
    auc = found.differences["auc"]
    assert auc.difference == pytest.approx(sides[1].result.auc - sides[0].result.auc)
    assert auc.interval == pytest.approx((low, high), abs=1e-12)
    sides_of_0 = min(sum(each <= 0 for each in drawn), sum(each >= 0 for each in drawn))
    assert auc.p == pytest.approx(min(1, 2 * (1 + sides_of_0) / 41))
    right = [cross_validate(each, same, 2).right(each, same) for each in (scores, other)]
    assert found.mcnemar.first_alone == sum(a and not b for a, b in zip(*right, strict=True))
    assert found.mcnemar.second_alone == sum(b and not a for a, b in zip(*right, strict=True))


def test_networks_of_one_quality_rarely_differ_and_a_better_one_is_found() -> None:
    alike = [both(seed, gain=0) for seed in range(40)]
    for name in ("accuracy", "auc", "eer", tar_key(0.1)):
        assert np.mean([each.differences[name].p < 0.05 for each in alike]) <= 0.2
    better = [both(seed, gain=0.7) for seed in range(6)]
    assert all(each.differences["auc"].difference > 0 for each in better)
    assert np.mean([each.differences["auc"].p < 0.05 for each in better]) >= 0.9
    assert all(each.differences["eer"].difference < 0 for each in better)


def test_a_network_does_not_differ_from_itself() -> None:
    scores, same, identities = simulated(10, seed=0)
    rows = np.random.default_rng(0).normal(size=(10, 3))
    neighbours = nearest(rows, np.arange(10) // 2)
    side = Side(with_rank1(verify(scores, same), neighbours, replicates=0), scores, neighbours)
    found = compare(side, side, same, identities, folds=10, replicates=50)
    for each in found.differences.values():
        assert (each.difference, each.interval, each.p) == (0.0, (0.0, 0.0), 1.0)
    assert list(found.differences) == ["accuracy", "auc", "eer", "rank1"]
    assert (found.mcnemar.first_alone, found.mcnemar.second_alone, found.mcnemar.p) == (0, 0, 1.0)


def test_too_few_identities_give_no_interval_and_no_p() -> None:
    scores, same = np.array([0.9, 0.2, 0.1, 0.8]), np.array([True, False, True, False])
    side = Side(verify(scores, same, folds=2), scores)
    people = np.array([[0, 0], [1, 2], [0, 0], [1, 2]])
    found = compare(side, side, same, people, folds=2, replicates=300)
    assert found.differences["auc"].interval is found.differences["auc"].p is None
    assert "too few identities" in found.describe("a", "b")
