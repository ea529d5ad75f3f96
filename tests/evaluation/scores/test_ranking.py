"""Mates and what comes before them, in blocks and over ranks, against loops over single images."""

import numpy as np
import pytest

from partialfc.evaluation.scores.ranking import Ranking, largest_rank, rank_mates
from tests.evaluation.scores.cases import cosine, embeddings, spread
from tests.evaluation.scores.test_all_pairs import SHARES

RANKS = (1, 2, 5)
KINDS = ["retrieval", "query and gallery", "one mate at a time"]


def parts(kind: str, ties: bool):
    """Rows and classes of queries, mates and distractors; None: the queries themselves, or none."""
    queries = embeddings(60, 8, ties=ties)
    if kind == "retrieval":
        return queries, None, None
    if kind == "query and gallery":
        return queries, embeddings(31, 9, ties=ties, seed=1), embeddings(20, 1, ties=ties, seed=2)
    return queries, None, (embeddings(70, 8, ties=ties, seed=3)[0], np.full(70, -1))


def by_loops(kind: str, ties: bool) -> dict[str, list]:
    (rows, labels), gallery, distractors = parts(kind, ties)
    leave_one_out = gallery is None
    mates_of, mate_labels = (rows, labels) if gallery is None else gallery
    others, other_labels = (mates_of, mate_labels) if kind != "one mate at a time" else distractors
    if kind == "query and gallery":
        others = np.concatenate([others, distractors[0]])
        other_labels = np.append(other_labels, np.full(20, -1))
    found = {"mates": [], "before_best": [], "average_precision": [], "reached": []}
    for query, row in enumerate(rows):
        mates = [
            cosine(row, each)
            for number, each in enumerate(mates_of)
            if labels[query] == mate_labels[number] >= 0 and not (leave_one_out and number == query)
        ]
        strangers = [
            cosine(row, each)
            for number, each in enumerate(others)
            if not labels[query] == other_labels[number] >= 0
            and not (leave_one_out and kind == "retrieval" and number == query)
        ]
        before = sorted(sum(each >= mate - 1e-12 for each in strangers) for mate in mates)
        found["mates"].append(len(mates))
        found["before_best"].append(before[0] if before else -1)
        precisions = [(place + 1) / (place + 1 + count) for place, count in enumerate(before)]
        found["average_precision"].append(np.mean(precisions) if before else np.nan)
        found["reached"].append([sum(count < k for count in before) for k in RANKS])
    return found


def run(kind: str, ties: bool, shares: tuple[int, ...], side: int) -> Ranking:
    queries, gallery, distractors = parts(kind, ties)
    first = spread(*queries, shares)
    if kind == "retrieval":
        return rank_mates(first, first, [first], ranks=RANKS, leave_one_out=True, side=side)
    third = spread(distractors[0], np.full(len(distractors[0]), -1), shares)
    if kind == "query and gallery":
        second = spread(*gallery, shares[::-1])
        return rank_mates(first, second, [second, third], ranks=RANKS, side=side)
    return rank_mates(first, first, [third], ranks=RANKS, leave_one_out=True, side=side)


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_any_blocks_on_any_ranks_give_what_loops_give(run_ranks, world_size, kind, ties):
    expected = by_loops(kind, ties)
    for side in (7, 1000):
        for found in run_ranks(run, world_size, kind, ties, SHARES[world_size], side):
            assert found.mates.tolist() == expected["mates"]
            assert found.before_best.tolist() == expected["before_best"]
            assert np.transpose([found.reached[k] for k in RANKS]).tolist() == expected["reached"]
            assert found.average_precision == pytest.approx(expected["average_precision"], nan_ok=True)


def test_figures_are_over_the_queries_that_can_be_found():
    found = run("retrieval", False, (1,), 16)
    expected = by_loops("retrieval", False)
    can = np.array(expected["mates"]) > 0
    assert 0 < can.sum() < len(can)
    assert found.recall(3) == np.mean(np.array(expected["before_best"])[can] < 3)
    assert found.mean_average_precision() == pytest.approx(np.nanmean(expected["average_precision"]))
    assert found.pairs_within(2) == np.sum(expected["reached"], 0)[1] / sum(expected["mates"])


def test_blocks_in_which_nobody_has_a_mate():
    rows, labels = np.eye(4), np.array([0, 1, 1, 2])
    lonely = spread(rows, labels, (1,))
    found = rank_mates(lonely, lonely, [lonely], ranks=[1], leave_one_out=True, side=1)
    assert found.before_best.tolist() == [-1, 2, 2, -1]
    assert np.isnan(found.average_precision).tolist() == [True, False, False, True]


def test_the_same_embedding_for_all_finds_nothing():
    all_one = spread(np.ones((8, 4)), np.arange(8) // 2, (1,))
    found = rank_mates(all_one, all_one, [all_one], ranks=[1], leave_one_out=True, side=3)
    assert found.recall(1) == 0
    assert found.before_best.tolist() == [6] * 8


def test_one_class_is_found_at_once():
    same = spread(np.eye(4), np.zeros(4, int), (1,))
    found = rank_mates(same, same, [same], ranks=[1], leave_one_out=True)
    assert found.recall(1) == found.mean_average_precision() == 1


@pytest.mark.parametrize("count", [0, 4])
def test_no_mates_at_all_are_refused(count):
    alone = spread(np.eye(4)[:count], np.arange(count), (1,))
    with pytest.raises(ValueError, match=f"none of the {count} queries has a mate"):
        rank_mates(alone, alone, [alone], ranks=[1], leave_one_out=True)


@pytest.mark.parametrize("kind", KINDS)
def test_the_largest_rank_is_the_last_that_a_search_can_miss(kind):
    """With one embedding for all, every image of another class comes before the mate."""
    (rows, labels), gallery, distractors = parts(kind, False)
    queries = spread(np.ones_like(rows), labels, (1,))
    mates = queries if gallery is None else spread(np.ones_like(gallery[0]), gallery[1], (1,))
    strangers = [] if distractors is None else [np.full(len(distractors[0]), -1)]
    others = strangers if kind == "one mate at a time" else [mates.all_classes, *strangers]
    one_out = gallery is None
    most = largest_rank(labels, mates.all_classes, others, leave_one_out=one_out)
    spreads = [spread(np.ones((len(each), rows.shape[1])), each, (1,)) for each in others]
    ranks = [most, most + 1]
    found = rank_mates(queries, mates, spreads, ranks=ranks, leave_one_out=one_out)
    assert [found.recall(k) < 1 for k in ranks] == [found.pairs_within(k) < 1 for k in ranks] == [True, False]


def test_a_rank_that_says_nothing_is_refused():
    one = np.zeros(4, np.int64)
    with pytest.raises(ValueError, match="no query meets an image of another class"):
        largest_rank(one, one, [one], leave_one_out=True)
    with pytest.raises(ValueError, match="none of the 3 queries has a mate"):
        largest_rank(np.arange(3), one + 7, [one])
