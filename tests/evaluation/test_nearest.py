"""The nearest neighbour, beside a loop over all images and beside scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score
from sklearn.neighbors import KNeighborsClassifier

from partialfc.evaluation import nearest as module
from partialfc.evaluation.bootstrap import without_errors
from partialfc.evaluation.nearest import nearest, with_rank1
from partialfc.evaluation.verification import verify


@pytest.mark.parametrize("seed", range(3))
def test_it_is_that_of_a_loop_and_of_scikit_learn(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 7)
    rng = np.random.default_rng(seed)
    identities = rng.integers(12, size=40)
    rows = rng.normal(size=(40, 5)) + rng.normal(size=(12, 5))[identities]
    units = rows / np.linalg.norm(rows, axis=1)[:, None]
    found, queries = nearest(rows, identities), []
    for query in range(40):
        if (identities == identities[query]).sum() > 1:
            others = [other for other in range(40) if other != query]
            closest = max(others, key=lambda other: float(units[query] @ units[other]))
            queries.append(identities[closest] == identities[query])
    assert found.right.tolist() == queries
    learnt = [
        KNeighborsClassifier(1, metric="cosine")
        .fit(np.delete(rows, q, 0), np.delete(identities, q))
        .predict(rows[[q]])[0]
        for q in range(40)
    ]
    several = np.bincount(identities)[identities] > 1
    assert found.right.mean() == accuracy_score(identities[several], np.array(learnt)[several])


def test_of_equal_images_the_first_counts_and_alone_an_identity_is_not_asked_for() -> None:
    rows = np.array([[1.0, 0], [1, 0], [1, 0], [0, 1]])
    found = nearest(rows, np.array([0, 1, 1, 2]))
    assert found.right.tolist() == [False, False]
    assert not len(nearest(rows, np.arange(4)).right)
    with pytest.raises(ValueError, match="embedding 1 of 2 is zero"):
        nearest(np.array([[1.0], [0.0]]), np.array([0, 0]))


def test_a_perfect_rank_1_has_the_interval_of_no_error() -> None:
    scores, same = np.array([0.9, 0.1, 0.8, 0.2]), np.array([True, False, True, False])
    plain = verify(scores, same, folds=2)
    found = with_rank1(plain, nearest(np.eye(3).repeat(2, 0), np.arange(3).repeat(2)), replicates=20)
    assert found.rank1 == 1
    assert found.intervals["rank1"] == (1 - without_errors(3), 1)
    assert "rank-1 100.00% [" in found.describe()
    assert "rank-1" not in plain.describe()
    assert with_rank1(plain, nearest(np.eye(3), np.arange(3)), replicates=20) is plain
