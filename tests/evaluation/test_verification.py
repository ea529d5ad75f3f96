"""Verification beside its definitions, where floats bite, and on bad input."""

import json
import math
import statistics
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from partialfc.evaluation.verification import Verification, roc, verify
from tests.evaluation.definitions import slow_auc, slow_eer, slow_folds, slow_tar

FARS = (0.5, 0.25, 0.1, 0.01)


@st.composite
def scored_pairs(draw: st.DrawFn) -> tuple[list[float], list[bool]]:
    """Few distinct scores, so that ties are the rule."""
    count = draw(st.integers(4, 40))
    scores = draw(st.lists(st.integers(-5, 5).map(lambda n: n / 4), min_size=count, max_size=count))
    same = draw(st.lists(st.booleans(), min_size=count - 2, max_size=count - 2))
    return scores, [*same, True, False]


@given(pairs=scored_pairs(), folds=st.integers(2, 4))
@settings(max_examples=300, deadline=None)
def test_matches_the_definitions_under_ties(pairs: tuple[list[float], list[bool]], folds: int) -> None:
    scores, same = pairs
    found = verify(np.array(scores), np.array(same), folds=folds, fars=FARS)
    accuracies, thresholds = slow_folds(scores, same, folds)
    assert found.pairs == len(scores)
    assert found.accuracy == pytest.approx(np.mean(accuracies), abs=1e-12)
    assert found.accuracy_std == pytest.approx(np.std(accuracies), abs=1e-12)
    assert found.accuracy_se == pytest.approx(statistics.stdev(accuracies) / math.sqrt(folds), abs=1e-12)
    assert found.threshold == pytest.approx(np.mean(thresholds), abs=1e-12)
    assert found.auc == pytest.approx(slow_auc(scores, same), abs=1e-12)
    assert found.eer == pytest.approx(slow_eer(scores, same), abs=1e-12)
    assert found.tar == pytest.approx({far: slow_tar(scores, same, far) for far in FARS}, abs=1e-12)


@pytest.mark.parametrize(("count", "folds"), [(300, 10), (303, 10), (97, 97)])
def test_matches_the_definitions_on_continuous_scores(count: int, folds: int) -> None:
    rng = np.random.default_rng(count)
    same = rng.random(count) < 0.4
    scores = rng.normal(size=count) + 1.5 * same
    found = verify(scores, same, folds=folds, fars=FARS)
    accuracies, thresholds = slow_folds(scores.tolist(), same.tolist(), folds)
    assert found.accuracy == pytest.approx(np.mean(accuracies), abs=1e-12)
    assert found.threshold == pytest.approx(np.mean(thresholds), abs=1e-12)
    assert found.auc == pytest.approx(slow_auc(scores.tolist(), same.tolist()), abs=1e-12)
    assert found.eer == pytest.approx(slow_eer(scores.tolist(), same.tolist()), abs=1e-12)
    assert found.tar == {far: slow_tar(scores.tolist(), same.tolist(), far) for far in FARS}


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
def test_matches_scikit_learn(ties: bool) -> None:
    rng = np.random.default_rng(3)
    same = rng.random(5000) < 0.3
    scores = rng.normal(size=5000) + 1.5 * same
    scores = scores.round(1) if ties else scores
    found = verify(scores, same, fars=FARS)
    far, tar, thresholds = roc_curve(same, scores, drop_intermediate=False)
    for ours, theirs in zip(roc(scores, same), (far, tar, thresholds), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-12)
    assert found.auc == pytest.approx(roc_auc_score(same, scores), abs=1e-12)
    assert found.tar == pytest.approx({at: tar[far <= at].max() for at in FARS}, abs=1e-12)
    crossing = int(np.argmax(far >= 1 - tar))
    low, high = sorted((far[crossing], far[crossing - 1]))
    assert low <= found.eer <= high


# Invariants


@given(pairs=scored_pairs(), seed=st.integers(0, 99))
@settings(deadline=None)
def test_order_within_a_fold_does_not_matter(pairs: tuple[list[float], list[bool]], seed: int) -> None:
    scores, same = np.array(pairs[0]), np.array(pairs[1])
    rng = np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(block) for block in np.array_split(np.arange(len(same)), 3)])
    assert verify(scores[order], same[order], folds=3) == verify(scores, same, folds=3)


@given(pairs=scored_pairs())
@settings(deadline=None)
def test_rising_transformations_keep_every_rate_that_needs_no_folds(
    pairs: tuple[list[float], list[bool]],
) -> None:
    scores, same = np.array(pairs[0]), np.array(pairs[1])
    plain, moved = (verify(s, same, folds=2, fars=FARS) for s in (scores, np.exp(2 * scores) - 7))
    assert (moved.auc, moved.eer, moved.tar) == (plain.auc, plain.eer, plain.tar)


@given(pairs=scored_pairs())
@settings(deadline=None)
def test_roc_rises_from_nothing_to_everything(pairs: tuple[list[float], list[bool]]) -> None:
    scores, same = np.array(pairs[0]), np.array(pairs[1])
    far, tar, thresholds = roc(scores, same)
    assert far.shape == tar.shape == thresholds.shape == (len(np.unique(scores)) + 1,)
    assert thresholds[0] == np.inf
    assert (np.diff(thresholds) < 0).all()
    for i, threshold in enumerate(thresholds):
        assert far[i] == np.mean(scores[~same] >= threshold)
        assert tar[i] == np.mean(scores[same] >= threshold)
    assert (far[-1], tar[-1]) == (1.0, 1.0)


def test_perfect_separation() -> None:
    rng = np.random.default_rng(0)
    same = np.tile([True, False], 1000)
    scores = np.where(same, 0.6, -0.2) + rng.uniform(0, 0.1, 2000)
    found = verify(scores, same)
    assert (found.accuracy, found.accuracy_std, found.auc, found.eer) == (1.0, 0.0, 1.0, 0.0)
    assert found.tar == {1e-3: 1.0, 1e-4: None}
    assert found.threshold == pytest.approx((scores[same].min() + scores[~same].max()) / 2, abs=0.01)


def test_random_scores_tell_nothing() -> None:
    rng = np.random.default_rng(0)
    same = rng.random(20_000) < 0.5
    found = verify(rng.random(20_000), same, fars=(0.1,))
    assert found.accuracy == pytest.approx(0.5, abs=0.02)
    assert found.auc == pytest.approx(0.5, abs=0.02)
    assert found.eer == pytest.approx(0.5, abs=0.02)
    assert found.tar[0.1] == pytest.approx(0.1, abs=0.02)


def test_reversed_scores_are_as_bad_as_can_be() -> None:
    same = np.tile([True, False], 10)
    found = verify(-same.astype(float), same, fars=(0.5,))
    assert (found.auc, found.eer, found.tar) == (0.0, 1.0, {0.5: 0.0})


def test_equal_scores_tell_nothing() -> None:
    found = verify(np.zeros(20), np.tile([True, False], 10), fars=(0.5,))
    assert (found.accuracy, found.auc, found.eer, found.tar) == (0.5, 0.5, 0.5, {0.5: 0.0})


# Where floats bite


def test_of_equally_good_thresholds_the_highest_wins() -> None:
    # Cutting below 0.3 and below 0.7 are both right three times in four.
    scores = np.array([0.1, 0.3, 0.5, 0.7])
    same = np.array([False, True, False, True])
    found = verify(np.tile(scores, 2), np.tile(same, 2), folds=2)
    assert found.threshold == pytest.approx(0.6)


def test_neighbouring_floats_are_told_apart() -> None:
    low = 0.1
    high = math.nextafter(low, 1)
    same = np.array([False, True] * 4)
    found = verify(np.where(same, high, low), same, folds=2)
    assert (found.accuracy, found.threshold) == (1.0, high)


@pytest.mark.parametrize(
    ("far", "impostors", "allowed"), [(0.29, 100, 29), (1e-3, 1000, 1), (1e-3, 999, None)]
)
def test_the_far_counts_as_it_is_written(far: float, impostors: int, allowed: int | None) -> None:
    scores = np.arange(impostors, dtype=float)
    genuine = scores + 0.5  # one just above each impostor
    found = verify(np.append(scores, genuine), np.repeat([False, True], impostors), folds=2, fars=(far,))
    assert found.tar[far] == (None if allowed is None else (allowed + 1) / impostors)


def test_ties_at_the_threshold_are_rejected() -> None:
    # Two false accepts are allowed, but impostors two and three tie: both go, and genuine pairs with them.
    scores = np.array([0.9, 0.5, 0.5, 0.1, 0.95, 0.5, 0.5, 0.6])
    same = np.array([False] * 4 + [True] * 4)
    assert verify(scores, same, folds=2, fars=(0.5,)).tar == {0.5: 0.5}


def test_folds_are_consecutive_and_the_first_ones_longer() -> None:
    # The odd pairs out sit in the last fold, whose two pairs the other folds' threshold gets wrong.
    same = np.array([True, False] * 4 + [True, False])
    scores = np.where(same, 0.9, 0.1)
    scores[8:] = scores[8:][::-1]
    found = verify(scores, same, folds=4)  # 3, 3, 2, 2
    assert found.accuracy == pytest.approx(np.mean([1, 1, 1, 0]))
    assert found.accuracy_std == pytest.approx(np.std([1, 1, 1, 0]))


def test_folds_may_be_named_pair_by_pair() -> None:
    rng = np.random.default_rng(0)
    same = rng.random(90) < 0.5
    scores, fold_of = rng.normal(size=90) + same, rng.permutation(np.repeat([0, 1, 2], [20, 30, 40]))
    order = np.argsort(fold_of, kind="stable")
    found = verify(scores, same, folds=fold_of)
    assert found == verify(scores[order], same[order], folds=fold_of[order])
    assert found.accuracy != verify(scores[order], same[order], folds=3).accuracy


# Bad input


@pytest.mark.parametrize(
    ("scores", "same", "options", "match"),
    [
        ([0.1, np.nan, 0.3, 0.4], [0, 1, 0, 1], {}, "score 1 is nan"),
        ([0.1, 0.2, np.inf, 0.4], [0, 1, 0, 1], {}, "score 2 is inf"),
        ([0.1, 0.2, 0.3], [0, 1], {}, r"\(3,\).*\(2,\)"),
        ([[0.1, 0.2]], [[0, 1]], {}, "must both be"),
        ([0.1, 0.2], [1, 1], {}, "2 genuine and 0 impostor"),
        ([0.1, 0.2], [0, 0], {}, "0 genuine and 2 impostor"),
        ([], [], {}, "0 genuine and 0 impostor"),
        ([0.1, 0.2], [0, 2], {}, "0 and 1"),
        ([0.1, 0.2], [0, 1], {"folds": 3}, r"folds is 3: it must be 2\.\.2"),
        ([0.1, 0.2], [0, 1], {"folds": 1}, "folds is 1"),
        ([0.1, 0.2, 0.3], [0, 1, 0], {"folds": np.array([0, 2, 2])}, "fold 1 of 3 has no pair"),
        ([0.1, 0.2], [0, 1], {"folds": np.array([0, 0])}, "there is one fold: at least two"),
        ([0.1, 0.2], [0, 1], {"folds": np.array([0, 1, 1])}, r"folds has shape \(3,\)"),
        ([0.1, 0.2], [0, 1], {"folds": 2, "fars": (0.1, 1.0)}, r"fars has 1\.0"),
        ([0.1, 0.2], [0, 1], {"folds": 2, "fars": (0.0,)}, r"fars has 0\.0"),
        ([0.1, 0.2], [0, 1], {"folds": 2, "fars": (math.nan,)}, "fars has nan"),
    ],
)
def test_bad_input(scores: list[float], same: list[int], options: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        verify(np.array(scores), np.array(same), **{"folds": 2, **options})


def test_roc_checks_its_input_too() -> None:
    with pytest.raises(ValueError, match="1 genuine and 0 impostor"):
        roc(np.array([0.5]), np.array([True]))


def test_input_is_not_changed() -> None:
    scores, same = np.array([0.4, 0.1, 0.3, 0.2]), np.array([1, 0, 1, 0])
    kept = scores.copy(), same.copy()
    verify(scores, same, folds=2)
    np.testing.assert_array_equal(scores, kept[0])
    np.testing.assert_array_equal(same, kept[1])


# What people and programs read


def test_dict_is_json_with_stable_keys() -> None:
    found = verify(np.arange(8.0), np.tile([True, False], 4), folds=2, fars=(1e-3, 0.05, 1.5e-4, 0.25, 1e-10))
    figures = json.loads(json.dumps(found.to_dict()))
    assert list(figures) == [
        "pairs",
        "accuracy",
        "accuracy_std",
        "accuracy_se",
        "threshold",
        "tar@far=1e-3",
        "tar@far=5e-2",
        "tar@far=1.5e-4",
        "tar@far=2.5e-1",
        "tar@far=1e-10",
        "auc",
        "eer",
    ]
    assert figures["tar@far=1e-3"] is None
    assert figures["tar@far=2.5e-1"] == found.tar[0.25]


def test_describe_is_one_line() -> None:
    found = Verification(6000, 0.99833, 0.002, 0.0007, 0.2512, {1e-3: 0.9975, 1e-4: None}, 0.99912, 0.0031)
    assert found.describe() == (
        "6000 pairs: accuracy 99.83% ± 0.20% at threshold 0.2512, TAR@FAR=1e-3 99.75%, "
        "TAR@FAR=1e-4 n/a, too few impostor pairs, AUC 0.9991, EER 0.31%"
    )
    by_likelihood = replace(found, score="mls")
    assert "at threshold 0.2512 of the likelihood (mls), TAR" in by_likelihood.describe()
    assert by_likelihood.to_dict()["score"] == "mls"
