"""The nearest classes over all shards, against torch.topk on the dense cosines."""

import numpy as np
import pytest
import torch

import partialfc
from partialfc.distributed import World
from partialfc.head.top_k import best_of_shard, first_largest
from tests.head.cases import CORNERS, Case, D, build, even

WORLDS = [1, 2, 3]


def nearest(case, k):
    """After steps that leave rows owing some; and the rows as they then are."""
    head = build(case)
    optimizer = partialfc.RowSGD(head, lr=0.5, momentum=0.9, weight_decay=5e-3)
    embeddings, labels = (each[case.own()] for each in case.batch())
    for _ in range(3):
        head(embeddings, labels).backward()
        optimizer.step()
    step = head.step
    scores, classes = head.top_k(embeddings.requires_grad_(), k)
    assert head.step == step
    assert not scores.requires_grad
    return scores, classes, head.current_rows()


@pytest.mark.parametrize("world_size", WORLDS)
@pytest.mark.parametrize("k", [1, 7, 50])
def test_the_nearest_are_those_of_dense_cosines(run_ranks, world_size, k):
    case = Case(even(world_size), sample_rate=0.3)
    results = run_ranks(nearest, world_size, case, k)
    rows = torch.cat([result[2] for result in results])
    cosines = torch.nn.functional.normalize(case.batch()[0]) @ torch.nn.functional.normalize(rows).T
    expected = cosines.topk(k)
    torch.testing.assert_close(
        torch.cat([result[0] for result in results]), expected.values, atol=1e-12, rtol=0
    )
    assert torch.equal(torch.cat([result[1] for result in results]), expected.indices)


@pytest.mark.parametrize("corner", CORNERS)
def test_corner_cases(run_ranks, corner):
    world_size, case = CORNERS[corner]
    k = min(3, case.num_classes)
    results = run_ranks(of_new_head, world_size, case, k)
    cosines = torch.nn.functional.normalize(case.batch()[0]) @ torch.nn.functional.normalize(case.weight()).T
    assert [len(scores) for scores, _ in results] == case.sizes
    assert torch.equal(torch.cat([classes for _, classes in results]), cosines.topk(k).indices)


def of_new_head(case, k):
    return build(case).top_k(case.batch()[0][case.own()], k)


def with_equal_rows(case, k):
    head = build(case)
    classes = torch.arange(head.shard.start, head.shard.stop)
    with torch.no_grad():
        head.weight.copy_(torch.eye(D, dtype=torch.float64)[classes % 4])
    return head.top_k(3.0 * torch.eye(D, dtype=torch.float64)[:2], k)


@pytest.mark.parametrize("world_size", WORLDS)
def test_of_equal_cosines_the_lower_class_comes_first(run_ranks, world_size):
    """Classes 1, 5, 9 ... have cosine 1 to the second embedding, all others 0."""
    case = Case([2] * world_size, num_classes=22)
    for scores, classes in run_ranks(with_equal_rows, world_size, case, 8):
        assert classes[0].tolist() == [0, 4, 8, 12, 16, 20, 1, 2]
        assert classes[1].tolist() == [1, 5, 9, 13, 17, 21, 0, 2]
        assert scores[1].tolist() == [1.0] * 6 + [0.0] * 2


@pytest.mark.parametrize("per_chunk", [1, 3, 50, 64])
def test_chunks_of_any_size_find_the_same(per_chunk):
    head = build(Case([1]))
    with torch.no_grad():
        head.weight[7:40:3] = head.weight[7]  # equal cosines in several chunks
    unit = torch.nn.functional.normalize(Case([9]).batch()[0])
    cosines = unit @ torch.nn.functional.normalize(head.weight.detach()).T
    expected = cosines.round(decimals=12).sort(dim=1, descending=True, stable=True)
    for k in (1, 9, 50):
        scores, rows = best_of_shard(head.rows(None), unit, k, per_chunk)
        assert torch.equal(scores, scores.sort(dim=1, descending=True).values)
        torch.testing.assert_close(scores, expected.values[:, :k], atol=1e-12, rtol=0)
        torch.testing.assert_close(cosines.gather(1, rows), scores, atol=1e-15, rtol=0)
        assert all(len(row.unique()) == k for row in rows)


def test_the_first_of_the_largest_columns():
    values = torch.tensor([[1.0, 3.0, 3.0, 2.0, 3.0], [0.0, 0.0, 0.0, 0.0, 1.0]])
    assert first_largest(values, 2).tolist() == [[1, 2], [4, 0]]
    assert first_largest(values, 4).tolist() == [[1, 2, 4, 3], [4, 0, 1, 2]]
    assert first_largest(values, 9).tolist() == [[1, 2, 4, 3, 0], [4, 0, 1, 2, 3]]
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(0, 9, (40, 30), generator=generator).float()
    expected = values.sort(dim=1, descending=True, stable=True).indices
    for k in (1, 5, 29, 30):
        assert torch.equal(first_largest(values, k), expected[:, :k])


def test_narrow_products_do_not_make_cosines_coarse():
    """Cosines have the precision of the arithmetic, not that of the products in training."""
    head = partialfc.PartialFC(64, 500, margin=partialfc.ArcFace(), compute_dtype=torch.bfloat16)
    embeddings = torch.randn(8, 64)
    scores, _ = head.top_k(embeddings.bfloat16(), 5)
    unit = torch.nn.functional.normalize(embeddings.bfloat16().double())
    cosines = unit @ torch.nn.functional.normalize(head.weight.detach().double()).T
    torch.testing.assert_close(scores.double(), cosines.topk(5).values, atol=1e-6, rtol=0)


def test_k_may_be_a_numpy_integer():
    head, embeddings = build(Case([1])), Case([1]).batch()[0]
    assert head.top_k(embeddings, np.int64(3))[1].tolist() == head.top_k(embeddings, 3)[1].tolist()


@pytest.mark.parametrize("k", [0, 51, -1, 2.0, True, None])
def test_a_wrong_k_is_refused(k):
    with pytest.raises(ValueError, match=f"k is {k}; it must be a whole number from 1 to num_classes, 50"):
        build(Case([1])).top_k(torch.zeros(1, D, dtype=torch.float64), k)


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (torch.zeros(2, 9), r"embeddings\.shape is \(2, 9\)"),
        ([1.0], r"embeddings is a list"),
        (torch.zeros(2, D, dtype=torch.int64), r"embeddings\.dtype is torch\.int64"),
    ],
)
def test_wrong_embeddings_are_refused(embeddings, message):
    with pytest.raises(ValueError, match=message):
        build(Case([1])).top_k(embeddings, 3)


def ask_otherwise_on_rank_one(k):
    rank = World.of().rank
    return build(Case([1, 1])).top_k(torch.zeros(1, D, dtype=torch.float64), k if rank else 3)


@pytest.mark.parametrize(("k", "message"), [(4, "ranks [1] ask otherwise"), (99, "bad input on rank 1")])
def test_every_rank_hears_of_another_ones_k(rank_outcomes, k, message):
    outcomes = rank_outcomes(ask_otherwise_on_rank_one, 2, k)
    assert isinstance(outcomes[0], partialfc.DistributedError)
    assert message in str(outcomes[0])
    assert isinstance(outcomes[1], ValueError if k == 99 else partialfc.DistributedError)
