"""Intervals over all pairs: each replicate against loops over copies of the drawn identities."""

import numpy as np
import pytest

from partialfc.evaluation.bootstrap import draw_counts, interval
from partialfc.evaluation.scores.all_pairs import AllPairs, all_pairs
from tests.evaluation.scores.cases import cosine, embeddings, spread
from tests.evaluation.scores.test_all_pairs import SHARES

REPLICATES, SEED, FARS = 40, 3, (0.2, 0.3)


def replicate(counts: np.ndarray, pairs: list[tuple[float, int, int]], far: float) -> float:
    """The TAR of weighted pairs (score, place of both classes; -1 for nobody), from its definition."""
    weighted = [
        (score, a == b >= 0, counts[a] if a == b >= 0 else np.append(counts, 1)[a] * np.append(counts, 1)[b])
        for score, a, b in pairs
    ]
    allowed = int(round(far * 100) * sum(w for _, same, w in weighted if not same) // 100)
    thresholds = sorted({score for score, same, _ in weighted if not same})
    threshold = next(
        t for t in thresholds if sum(w for score, same, w in weighted if not same and score > t) <= allowed
    )
    genuine = [(score, w) for score, same, w in weighted if same]
    return sum(w for score, w in genuine if score > threshold) / sum(w for _, w in genuine)


def expected(ties: bool, between: bool) -> dict:
    rows, labels = embeddings(36, 5, ties=ties)
    others, other_labels = embeddings(18, 5, ties=ties, seed=1) if between else (rows, labels)
    pairs = [
        (round(cosine(rows[i], others[j]), 12), int(labels[i]), int(other_labels[j]))
        for i in range(36)
        for j in range(0 if between else i + 1, len(others))
    ]
    found = {}
    for far in FARS:
        drawn = np.concatenate(list(draw_counts(5, REPLICATES, SEED, row=1)))
        found[far] = interval(np.array([replicate(counts, pairs, far) for counts in drawn]))
    return found


def run(ties: bool, between: bool, shares: tuple[int, ...], how: dict) -> AllPairs:
    queries = spread(*embeddings(36, 5, ties=ties), shares)
    gallery = spread(*embeddings(18, 5, ties=ties, seed=1), shares[::-1]) if between else None
    return all_pairs(queries, gallery, fars=FARS, replicates=REPLICATES, seed=SEED, **how)


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize("between", [False, True], ids=["within", "between"])
@pytest.mark.parametrize("world_size", [1, 3])
def test_as_loops_over_weighted_pairs(run_ranks, world_size, between, ties):
    wanted = expected(ties, between)
    for how in ({"side": 8}, {"side": 1000, "most_kept": 1000}):
        for found in run_ranks(run, world_size, ties, between, SHARES[world_size], how):
            for far in FARS:
                assert 0 < found.tar[far] < 1
                assert tuple(found.intervals[far]) == pytest.approx(tuple(wanted[far]))


def test_no_errors_at_all_still_have_an_interval():
    rows = np.repeat(np.eye(4), 3, axis=0)
    found = all_pairs(spread(rows, np.arange(12) // 3, (1,)), fars=[0.1], replicates=10)
    assert found.tar[0.1] == 1
    assert found.intervals[0.1].high == 1
    assert found.intervals[0.1].low == pytest.approx(0.025**0.25)
