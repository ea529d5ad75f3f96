"""All pairs in blocks, over ranks, against loops over single pairs."""

import numpy as np
import pytest
import torch

from partialfc.distributed import World
from partialfc.errors import DataError
from partialfc.evaluation.scores.all_pairs import AllPairs, all_pairs
from partialfc.evaluation.scores.spread import Spread
from tests.evaluation.scores.cases import cosine, embeddings, spread

FARS = (1e-4, 1e-3, 0.01, 0.1)
SHARES = {1: (1,), 2: (0, 1), 3: (2, 0, 1)}


def by_loops(first, labels, second=None, others=None):
    """(genuine pairs, impostor pairs, TAR by FAR) from scores of single pairs."""
    within = second is None
    second, others = (first, labels) if within else (second, others)
    genuine, impostors = [], []
    for i in range(len(first)):
        for j in range(i + 1 if within else 0, len(second)):
            mated = labels[i] == others[j] >= 0
            (genuine if mated else impostors).append(cosine(first[i], second[j]))
    falling = sorted(impostors, reverse=True)
    tar = {}
    for far in FARS:
        allowed = round(far * 1e6) * len(falling) // 1_000_000
        tar[far] = None if allowed < 1 else sum(each > falling[allowed] for each in genuine) / len(genuine)
    return len(genuine), len(impostors), tar


def run(count: int, ties: bool, rectangular: bool, shares: tuple[int, ...], how: dict) -> AllPairs:
    queries = spread(*embeddings(count, 7, ties=ties), shares)
    gallery = spread(*embeddings(count // 2, 7, ties=ties, seed=1), shares[::-1]) if rectangular else None
    return all_pairs(queries, gallery, fars=FARS, **how)


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize("rectangular", [False, True], ids=["within", "between"])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_any_blocks_on_any_ranks_give_what_loops_give(run_ranks, world_size, rectangular, ties):
    rows, labels = embeddings(90, 7, ties=ties)
    second = embeddings(45, 7, ties=ties, seed=1) if rectangular else ()
    expected = by_loops(rows, labels, *second)
    for how in ({"side": 7}, {"side": 16}, {"side": 1000}, {"side": 16, "most_kept": 420}):
        for found in run_ranks(run, world_size, 90, ties, rectangular, SHARES[world_size], how):
            assert (found.genuine, found.impostors, found.tar) == expected


def test_genuine_pairs_too_many_to_keep_are_computed_once_more():
    rows, labels = embeddings(60, 2, ties=True)
    queries = spread(rows, labels, (1,))
    found = all_pairs(queries, fars=[1e-3], side=16, most_kept=5)
    assert found.genuine > 5
    assert found.tar == {1e-3: by_loops(rows, labels)[2][1e-3]}


def test_constant_scores_accept_nothing():
    found = all_pairs(spread(np.ones((9, 4)), np.arange(9) // 3, (1,)), fars=[0.1], side=4)
    assert found.tar == {0.1: 0.0}
    assert found.thresholds[0.1] == pytest.approx(1)


def test_a_far_below_one_pair_has_no_rate():
    found = all_pairs(spread(np.eye(4), np.array([0, 0, 1, 1]), (1,)), fars=[0.1, 0.3])
    assert found.tar == {0.1: None, 0.3: 0.0}
    found = all_pairs(spread(np.eye(4), np.array([0, 0, 1, 1]), (1,)), fars=[0.1], replicates=3)
    assert found.tar == {0.1: None}
    assert found.intervals == {}


@pytest.mark.parametrize(
    ("labels", "says"),
    [([0, 0, 0, 0], "6 genuine and 0 impostor"), ([0, 1, 2, 3], "0 genuine and 6 impostor"),
     ([-1, -1, -1, -1], "0 genuine and 6 impostor")],
    ids=["one class", "no two of a class", "distractors"],
)  # fmt: skip
def test_one_kind_of_pairs_is_refused(labels, says):
    with pytest.raises(ValueError, match=says):
        all_pairs(spread(np.eye(4), np.array(labels), (1,)), fars=[0.1])


def test_no_embeddings_are_refused():
    with pytest.raises(ValueError, match="0 genuine and 0 impostor pairs"):
        all_pairs(spread(np.zeros((0, 4)), np.zeros(0, int), (1,)), fars=[0.1])


@pytest.mark.parametrize("far", [0, 1, -0.1, float("nan")])
def test_a_far_outside_of_0_and_1_is_refused(far):
    with pytest.raises(ValueError, match="between 0 and 1"):
        all_pairs(spread(*embeddings(9, 3, ties=False), (1,)), fars=[far])


def test_a_far_that_would_keep_too_much_is_refused_with_the_highest_that_would_not():
    with pytest.raises(ValueError, match=r"fars has 0.5: of \d+ impostor .* none above 1.1e-02"):
        all_pairs(spread(*embeddings(90, 7, ties=False), (1,)), fars=[0.01, 0.5], most_kept=40)


def unusable(shares: tuple[int, ...]) -> None:
    rows = np.ones((6, 4))
    rows[4] = 0
    world = World.of()
    own = slice(*((0, 3), (3, 6))[world.rank])
    Spread.of(torch.tensor(rows[own]), np.zeros(3, int), world, name=lambda index: f"image {index}")


def test_an_embedding_without_direction_is_named_on_every_rank(rank_outcomes):
    for outcome in rank_outcomes(unusable, 2, (1, 1)):
        assert isinstance(outcome, DataError)
        assert "rank 1: the embedding of image 1 is zero, 1 of 3 are unusable" in str(outcome)
