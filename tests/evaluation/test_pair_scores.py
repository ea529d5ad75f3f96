"""Scores of pairs: cosines of their embeddings."""

import math

import numpy as np
import pytest

from partialfc.evaluation.verification import pair_scores


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_pair_scores_are_cosines(dtype: type) -> None:
    rows = np.random.default_rng(0).normal(size=(10, 7)).astype(dtype)
    expected = [
        float(np.dot(a, b) / math.sqrt(np.dot(a, a) * np.dot(b, b)))
        for a, b in rows.astype(np.float64).reshape(5, 2, 7)
    ]
    scores = pair_scores(rows)
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-14)


def test_the_cosine_of_equal_and_of_opposite_rows_is_none_beyond_1() -> None:
    rows = np.random.default_rng(0).normal(size=(500, 64))
    for sign in (1, -1):
        scores = pair_scores(np.stack([rows, sign * rows], axis=1).reshape(1000, 64))
        assert np.abs(scores).max() == 1
        assert np.allclose(scores, sign, atol=1e-14)


def test_pair_scores_of_tiny_and_large_rows() -> None:
    scores = pair_scores(np.array([[1e-38, 0], [3e38, 3e38]], dtype=np.float32))
    assert scores == pytest.approx([math.sqrt(0.5)])


@pytest.mark.parametrize(
    ("row", "value", "match"),
    [
        (3, 0.0, r"embedding 3 \(pair 1\) is zero"),
        (2, np.nan, "embedding 2 .* not finite"),
        (5, np.inf, "5 .*not"),
    ],
)
def test_rows_without_direction(row: int, value: float, match: str) -> None:
    rows = np.ones((6, 4))
    rows[row] = value
    with pytest.raises(ValueError, match=match):
        pair_scores(rows)


@pytest.mark.parametrize("shape", [(3, 4), (4,), (2, 2, 2)])
def test_pair_scores_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="two rows a pair"):
        pair_scores(np.ones(shape))
