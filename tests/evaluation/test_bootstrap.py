"""Intervals by identity: beside a slow loop over repeated pairs, and on simulated data of known truth."""

from collections.abc import Mapping

import numpy as np
import pytest

from partialfc.evaluation import bootstrap
from partialfc.evaluation.bootstrap import Interval, draw_counts, interval, pair_weights, without_errors
from partialfc.evaluation.intervals import with_intervals
from partialfc.evaluation.verification import cross_validate, tar_key, verify
from partialfc.evaluation.weighted import WeightedFigures
from tests.evaluation.definitions import slow_auc, slow_eer, slow_tar
from tests.evaluation.simulated import Pairs, held, intervals, simulated, truth

FARS = (0.3, 0.1)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
def test_weighted_figures_are_those_of_pairs_repeated_as_often(seed: int, ties: bool) -> None:
    scores, same, identities = simulated(8, seed=seed, impostors=20)
    scores = scores.round() if ties else scores
    tested = cross_validate(scores, same, 4)
    right, share = tested.right(scores, same), tested.share()
    (counts,) = draw_counts(8, 30, seed, row=len(scores))
    found = WeightedFigures(scores, same, right, share)(pair_weights(counts, identities), FARS)
    for number, drawn in enumerate(counts.tolist()):
        weights = [
            drawn[one] if one == other else drawn[one] * drawn[other] for one, other in identities.tolist()
        ]
        many, flags = (np.repeat(values, weights).tolist() for values in (scores, same))
        accuracy = 0.0
        for kind in (True, False):
            part = sum(s for s, flag in zip(share, same, strict=True) if flag == kind)
            each = [(w * s, r) for w, s, r, f in zip(weights, share, right, same, strict=True) if f == kind]
            total = sum(w for w, _ in each)
            accuracy += part * sum(w * r for w, r in each) / total if total else np.nan
        assert found["accuracy"][number] == pytest.approx(accuracy, abs=1e-12, nan_ok=True)
        if not any(flags) or all(flags):
            assert np.isnan([found[name][number] for name in ("auc", "eer", *FARS)]).all()
            continue
        assert found["auc"][number] == pytest.approx(slow_auc(many, flags), abs=1e-12)
        assert found["eer"][number] == pytest.approx(slow_eer(many, flags), abs=1e-12)
        for far in FARS:
            if (tar := slow_tar(many, flags, far)) is not None:  # else at no false accept
                assert found[far][number] == pytest.approx(tar, abs=1e-12)


@pytest.mark.parametrize("folds", [4, "uneven"])
def test_with_weights_of_one_they_are_those_of_the_set(folds: int | str) -> None:
    scores, same, _ = simulated(9, seed=1)
    blocks = np.minimum(np.arange(len(scores)) // 10, 3) if folds == "uneven" else 4
    tested = cross_validate(scores, same, blocks)
    figures = WeightedFigures(scores, same, tested.right(scores, same), tested.share())
    found = figures(np.ones((1, len(scores)), np.int32), FARS)
    plain = verify(scores, same, folds=blocks, fars=FARS)
    assert found["accuracy"][0] == pytest.approx(plain.accuracy, abs=1e-12)
    assert (found["auc"][0], found["eer"][0]) == pytest.approx((plain.auc, plain.eer), abs=1e-12)
    assert {far: found[far][0] for far in FARS} == pytest.approx(plain.tar, abs=1e-12)


def test_equal_seeds_draw_equal_counts_however_many_fit_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate([*draw_counts(5, 7, 3, row=10)])
    monkeypatch.setattr(bootstrap, "CHUNK", 20)
    assert len([*draw_counts(5, 7, 3, row=10)]) == 4
    assert np.array_equal(np.concatenate([*draw_counts(5, 7, 3, row=10)]), whole)
    assert (whole.sum(1) == 5).all()
    assert not np.array_equal(np.concatenate([*draw_counts(5, 7, 4, row=10)]), whole)


@pytest.fixture(scope="module")
def true() -> Mapping[str, float]:
    return truth(simulated(400, seed=seed) for seed in range(1000, 1010))


def coverage(sets: list[Pairs], true: Mapping[str, float], *, by_pair: bool = False) -> list[float]:
    """How often the interval of a set has the truth inside, of each figure."""
    found = intervals(sets, by_pair=by_pair, replicates=200)
    assert {len(each) for each in found.values()} == {len(sets)}
    return [held(found[name], value) / len(sets) for name, value in true.items()]


def test_they_cover_the_truth_where_intervals_by_pair_do_not(true: Mapping[str, float]) -> None:
    sets = [simulated(40, seed=seed) for seed in range(80)]
    assert all(0.85 <= share <= 1 for share in coverage(sets, true))
    assert all(share < 0.75 for share in coverage(sets, true, by_pair=True))


def test_where_identities_meet_rarely_they_are_too_wide_rather_than_too_narrow(
    true: Mapping[str, float],
) -> None:
    sets = [simulated(60, seed=seed, impostors=120) for seed in range(60)]
    assert all(share >= 0.93 for share in coverage(sets, true))


# What a user meets


def test_every_figure_of_a_set_gets_its_interval() -> None:
    scores, same, identities = simulated(30, seed=0)
    plain = verify(scores, same, fars=(0.1, 1e-3))
    found = with_intervals(plain, scores, same, identities, replicates=200)
    assert plain.tar[1e-3] is None
    assert list(found.intervals) == ["accuracy", "auc", "eer", tar_key(0.1)]
    for name, ends in found.intervals.items():
        assert ends is not None
        assert ends.low < found.to_dict()[name] < ends.high
    low, high = found.intervals["eer"]
    assert f"EER {found.eer:.2%} [{low:.2%}, {high:.2%}]" in found.describe()
    assert found.to_dict()["intervals"]["eer"] == (low, high)
    assert with_intervals(plain, scores, same, identities, replicates=200) == found
    assert with_intervals(plain, scores, same, identities, replicates=0) is plain


def test_without_an_error_the_interval_is_that_of_no_error_among_so_many() -> None:
    same = np.tile([True, False], 20)
    identities = np.array(
        [[i // 2, i // 2] if flag else [i // 2, 20 + i // 2] for i, flag in enumerate(same)]
    )
    found = with_intervals(verify(same * 1.0, same), same * 1.0, same, identities, replicates=50)
    assert found.intervals["accuracy"] == Interval(1 - without_errors(20), 1.0)
    assert found.intervals["eer"] == Interval(0.0, without_errors(20))
    assert without_errors(20) == pytest.approx(0.1684, abs=1e-4)  # as tables of Clopper and Pearson have it


def test_too_few_identities_give_none() -> None:
    scores, same = np.array([0.9, 0.2, 0.1, 0.8]), np.array([True, False, True, False])
    one_each = np.array([[0, 0], [1, 2], [0, 0], [1, 2]])  # either kind is left out of most replicates
    found = with_intervals(verify(scores, same, folds=2), scores, same, one_each, folds=2, replicates=300)
    assert found.intervals == {"accuracy": None, "auc": None, "eer": None}
    assert "EER 50.00% [too few identities]" in found.describe()
    assert interval(np.array([])) is None


@pytest.mark.parametrize(
    "identities", [np.zeros((3, 2), int), np.zeros((4, 2))], ids=["another length", "no whole numbers"]
)
def test_wrong_identities_are_refused(identities: np.ndarray) -> None:
    scores, same = np.arange(4.0), np.tile([True, False], 2)
    with pytest.raises(ValueError, match="identities have shape"):
        with_intervals(verify(scores, same, folds=2), scores, same, identities, folds=2, replicates=9)
