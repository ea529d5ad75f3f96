"""Normalised scores against the formula by loops."""

import numpy as np
import pytest
import torch

from partialfc.evaluation.scores.all_pairs import all_pairs
from partialfc.evaluation.scores.score_norm import calibrated, class_means
from partialfc.evaluation.scores.spread import scores_of
from tests.evaluation.scores.cases import cosine, embeddings, spread
from tests.evaluation.scores.test_all_pairs import FARS, SHARES


def normalised(row: np.ndarray, other: np.ndarray, cohort: np.ndarray, top: int) -> float:
    score = cosine(row, other)
    found = 0.0
    for each in (row, other):
        best = sorted((cosine(each, stranger) for stranger in cohort), reverse=True)[:top]
        found += (score - np.mean(best)) / np.std(best) / 2
    return found


def run(shares: tuple[int, ...], side: int) -> tuple[np.ndarray, dict]:
    queries = spread(*embeddings(40, 6, ties=False), shares)
    cohort = spread(embeddings(23, 6, ties=False, seed=1)[0], np.arange(23), shares[::-1])
    found = calibrated(queries, cohort, top=5, side=side)
    blocks = sorted(found.blocks(9), key=lambda block: block.start)
    scores = torch.cat([torch.cat([scores_of(a, b) for b in blocks], 1) for a in blocks])
    return scores.numpy(), all_pairs(found, fars=FARS, side=side).tar


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_as_the_formula(run_ranks, world_size):
    rows, labels = embeddings(40, 6, ties=False)
    cohort = embeddings(23, 6, ties=False, seed=1)[0]
    expected = np.array([[normalised(a, b, cohort, 5) for b in rows] for a in rows])
    pairs = np.triu_indices(40, 1)
    same = (labels[pairs[0]] == labels[pairs[1]]) & (labels[pairs[0]] >= 0)
    impostors = np.sort(expected[pairs][~same])[::-1]
    for side in (4, 100):
        for scores, tar in run_ranks(run, world_size, SHARES[world_size], side):
            assert scores == pytest.approx(expected)
            allowed = int(0.01 * len(impostors))
            assert tar[0.01] == np.mean(expected[pairs][same] > impostors[allowed])


def means(shares: tuple[int, ...]) -> tuple[list[int], np.ndarray]:
    found = class_means(spread(*embeddings(30, 5, ties=False), shares))
    blocks = sorted(found.blocks(2), key=lambda block: block.start)
    return found.all_classes.tolist(), np.concatenate([block.rows.numpy() for block in blocks])


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_a_cohort_of_class_means(run_ranks, world_size):
    rows, labels = embeddings(30, 5, ties=False)
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    expected = np.array([units[labels == each].mean(0) for each in range(5)])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    for classes, found in run_ranks(means, world_size, SHARES[world_size]):
        assert classes == list(range(5))
        assert found == pytest.approx(expected)


def test_a_cohort_of_equal_scores_gives_finite_ones():
    same = calibrated(
        spread(*embeddings(20, 3, ties=True), (1,)), spread(np.ones((4, 4)), np.arange(4), (1,)), top=3
    )
    assert torch.isfinite(same.calibration).all()


@pytest.mark.parametrize("top", [0, 1, 24])
def test_top_within_the_cohort(top):
    queries = spread(*embeddings(9, 3, ties=False), (1,))
    with pytest.raises(ValueError, match=r"it must be 2\.\.9"):
        calibrated(queries, queries, top=top)
