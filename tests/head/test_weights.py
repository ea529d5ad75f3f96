"""Weights of samples and of classes: the weighted mean of the dense reference, at every world size."""

import numpy as np
import pytest
import torch

import partialfc
from partialfc.distributed import World
from tests.head.cases import WORLDS, Case, D, build, check, even, run_case

WEIGHTS = [0.5, 0.0, 2.0, 1.0, 0.25, 3.0, 0.0, 1.5, 1.0, 0.75, 0.1, 1.0]
OF_CLASSES = [0.0, *(1.0 / (1 + each) for each in range(49))]
# Classes 0 and 49 at the ends of the shards, and a sample to ignore.
LABELS = [3, 0, -1, 3, 49, 17, 20, 8, 0, 31, 11, 49]


@pytest.mark.parametrize("world_size", WORLDS)
@pytest.mark.parametrize("sample_rate", [1.0, 0.3])
@pytest.mark.parametrize("given", ["of samples", "of classes", "of both"])
def test_a_weighted_mean_matches_the_dense_reference(run_ranks, world_size, sample_rate, given):
    weights = None if given == "of classes" else WEIGHTS
    of_classes = None if given == "of samples" else OF_CLASSES
    case = Case(
        even(world_size), labels=LABELS, weights=weights, class_weights=of_classes, sample_rate=sample_rate
    )
    check(case, run_ranks(run_case, world_size, case))


CORNERS = {
    "a rank without samples": (3, Case([7, 0, 5], weights=WEIGHTS)),
    "a rank that weighs nothing": (2, Case([6, 6], weights=[0.0] * 6 + WEIGHTS[6:])),
    "one sample that counts": (2, Case([6, 6], weights=[0.0] * 8 + [4.0] + [0.0] * 3)),
    "huge weights": (2, Case([6, 6], weights=[1e308] * 12)),
    "tiny weights": (2, Case([6, 6], weights=[5e-324] * 6 + [1e-310] * 6)),
    "weights far apart": (2, Case([6, 6], weights=[1e-30] * 6 + [1e30] * 6)),
}


@pytest.mark.parametrize("corner", CORNERS)
def test_corner_cases_match_the_dense_reference(run_ranks, corner):
    world_size, case = CORNERS[corner]
    results = run_ranks(run_case, world_size, case)
    if (
        case.weights[0] > 1e300 or case.weights[-1] < 1e-300
    ):  # the reference's own sums overflow, or lose digits
        case.weights = (np.array(case.weights) / np.max(case.weights)).tolist()
    check(case, results)


@pytest.mark.parametrize("world_size", [1, 3])
@pytest.mark.parametrize("zero", [{"weights": [0.0] * 12}, {"class_weights": [0.0] * 50}], ids=str)
def test_where_all_weights_are_zero_the_loss_is_too(run_ranks, world_size, zero):
    for result in run_ranks(run_case, world_size, Case(even(world_size), **zero)):
        assert result["loss"] == 0.0
        assert torch.count_nonzero(result["gradient"]) == 0
        assert torch.isfinite(result["weight"]).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_equal_weights_of_any_dtype_are_as_none(dtype):
    embeddings, labels = Case([8]).batch()
    plain = build(Case([8])).eval()(embeddings, labels)
    weighted = build(Case([8])).eval()(embeddings, labels, torch.full((8,), 0.3, dtype=dtype))
    torch.testing.assert_close(weighted, plain, atol=1e-12, rtol=1e-12)


def own_part_of_class_weights(case):
    """Each rank gives the weights of its own classes alone."""
    shard = partialfc.ClassShard(case.num_classes, World.of().rank, World.of().size)
    own = torch.tensor(case.class_weights, dtype=torch.float64)[shard.start : shard.stop]
    head = partialfc.PartialFC(
        *(D, case.num_classes),
        margin=partialfc.ArcFace(),
        class_weights=own,
        weight_dtype=torch.float64,
        compute_dtype=torch.float64,
    ).eval()
    embeddings, labels = case.batch()
    mine = case.own()
    assert "class_weights" not in head.state_dict()
    return head(embeddings[mine], labels[mine]).item()


def test_a_rank_may_give_the_weights_of_its_own_classes_alone(run_ranks):
    case = Case(even(1), class_weights=OF_CLASSES)
    expected = run_ranks(own_part_of_class_weights, 1, case)[0]
    for world_size in (2, 4):
        of_ranks = run_ranks(
            own_part_of_class_weights, world_size, Case(even(world_size), class_weights=OF_CLASSES)
        )
        assert of_ranks == pytest.approx([expected] * world_size, abs=1e-10)


def collectives(weighted):
    head = build(Case([4, 4]))
    head(torch.randn(4, D, dtype=torch.float64), torch.arange(4), torch.ones(4) if weighted else None)
    return head.world.traffic.calls


def test_weights_take_no_collective_of_their_own(run_ranks):
    assert run_ranks(collectives, 2, True) == run_ranks(collectives, 2, False)


def weights_on_rank_one(weights, others):
    given = weights if World.of().rank == 1 else others
    build(Case([3, 3]))(torch.randn(3, D, dtype=torch.float64), torch.tensor([1, -1, 2]), given)


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf"), float("-inf")])
def test_a_bad_weight_is_named_on_every_rank(rank_outcomes, bad):
    for outcome in rank_outcomes(weights_on_rank_one, 2, torch.tensor([1.0, bad, 1.0]), torch.ones(3)):
        assert type(outcome) is ValueError
        assert str(outcome) == f"weight {bad} at sample 1 on rank 1: weights must be finite and at least 0"


def test_ranks_with_and_without_weights_are_told(rank_outcomes):
    for outcome in rank_outcomes(weights_on_rank_one, 2, None, torch.ones(3)):
        assert isinstance(outcome, partialfc.DistributedError)
        assert "ranks [1] call the head otherwise than rank 0" in str(outcome)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, 1.0], r"weights is a list; it must be a torch\.Tensor"),
        (torch.ones(3), r"weights is a tensor \[3\] of torch\.float32; it must be \[2\], one an embedding"),
        (torch.ones(2, 1), r"weights is a tensor \[2, 1\]"),
        (torch.ones(2, device="meta"), "weights is on the device meta, without values; give it on the CPU"),
        (torch.ones(2, dtype=torch.int64), r"weights is a tensor \[2\] of torch\.int64; .* floating-point"),
        (torch.ones(2, requires_grad=True), r"pass weights\.detach\(\)"),
        (torch.tensor([1.0, -2.0]), r"^weight -2\.0 at sample 1: weights must be finite and at least 0"),
    ],
)
def test_bad_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        build(Case([2]))(torch.zeros(2, D, dtype=torch.float64), torch.tensor([1, 2]), weights)


@pytest.mark.parametrize(
    ("class_weights", "message"),
    [
        (torch.ones(9), r"class_weights has the shape \(9,\); it must be \[10\], one for each class"),
        (torch.ones(10, 1), r"class_weights has the shape \(10, 1\)"),
        ([1.0] * 8 + [-1.0, 1.0], r"class_weights\[8\] is -1\.0; weights must be finite and at least 0"),
        (np.array([1.0, np.nan] * 5), r"class_weights\[1\] is nan"),
        ("balanced", "class_weights is a str; it must be a tensor or an array of real numbers"),
        (torch.ones(10, dtype=torch.complex64), r"class_weights is a tensor of torch\.complex64; it must be"),
        (np.ones(10, np.complex128), "class_weights is a ndarray of complex128; it must be"),
        ([1j] * 10, "class_weights is a list of complex128"),
        (torch.ones(10, dtype=torch.bool), r"class_weights is a tensor of torch\.bool"),
        ([True] * 10, "class_weights is a list of bool"),
        (["1"] * 10, "class_weights is a list; it must be"),
        ([[1.0], [1.0, 2.0]], "class_weights is a list; it must be"),
        ([1.0] * 9 + [1e-46], r"class_weights\[9\] is 1e-46; torch\.float32 holds .* of the largest weight"),
        ([1e300] * 9 + [5e-324], r"class_weights\[9\] is 5e-324; torch\.float32 holds"),
    ],
)
def test_bad_class_weights_are_refused(class_weights, message):
    with pytest.raises(ValueError, match=message):
        partialfc.PartialFC(8, 10, margin=partialfc.ArcFace(), class_weights=class_weights)


def loss_with(class_weights):
    head = partialfc.PartialFC(8, 10, margin=partialfc.CosFace(), class_weights=class_weights).eval()
    generator = torch.Generator().manual_seed(0)
    return head(torch.randn(20, 8, generator=generator), torch.arange(20) % 10).item()


@pytest.mark.parametrize("factor", [2.0**130, 1e39, 1e300, 1e-46, 2.0**-160, 5e-320])
def test_only_the_ratios_of_class_weights_count(factor):
    """Whatever their size: float32 holds neither these weights nor, maybe, their sum."""
    ratios = torch.linspace(0.0, 1.0, 10, dtype=torch.float64)
    assert loss_with(ratios * factor) == pytest.approx(loss_with(ratios), rel=1e-3)
    assert loss_with([1e39] * 10) == pytest.approx(loss_with(None), rel=1e-6)


def test_class_weights_lose_no_bit_by_their_scale():
    weights = torch.rand(10, generator=torch.Generator().manual_seed(0)).add(0.01)
    assert loss_with(weights) == loss_with(weights * 1024) == loss_with(weights.double() * 2.0**200)


def of_own_shard(value):
    own = len(partialfc.ClassShard(10, World.of().rank, World.of().size))
    partialfc.PartialFC(8, 10, margin=partialfc.ArcFace(), class_weights=[value] * own)


@pytest.mark.parametrize("value", [1e39, 1e-46])
def test_class_weights_of_a_shard_must_fit_the_arithmetic(rank_outcomes, value):
    """A rank does not know the other ranks' weights, so it cannot scale its own."""
    for outcome in rank_outcomes(of_own_shard, 2, value):
        assert isinstance(outcome, ValueError)
        assert f"class_weights[0] is {value}; torch.float32 holds" in str(outcome)


def one_class(of_rank_one):
    weights = [1.0] if World.of().rank == 0 else of_rank_one
    head = partialfc.PartialFC(8, 1, margin=partialfc.ArcFace(), class_weights=weights).eval()
    return head(torch.ones(2, 8), torch.zeros(2, dtype=torch.int64)).item()


@pytest.mark.parametrize("of_rank_one", [[], [1.0]])
def test_one_class_may_be_given_as_all_or_as_a_shard(run_ranks, of_rank_one):
    assert run_ranks(one_class, 2, of_rank_one) == [0.0, 0.0]


def other_class_weights_on_rank_one():
    weights = torch.ones(10)
    weights[9] += World.of().rank
    head = partialfc.PartialFC(8, 10, margin=partialfc.ArcFace(), class_weights=weights)
    head(torch.randn(3, 8), torch.tensor([1, 2, 3]))


def test_ranks_with_other_class_weights_are_told(rank_outcomes):
    for outcome in rank_outcomes(other_class_weights_on_rank_one, 2):
        assert "ranks [1] built their head otherwise than rank 0" in str(outcome)


def train_in_two_micro_batches(case):
    """One step, each micro-batch's loss by its part of all weights -> this rank's loss and rows."""
    world, mine = World.of(), case.own()
    embeddings, labels = (tensor[mine] for tensor in case.batch())
    weights = torch.tensor(case.weights, dtype=torch.float64)[mine]
    first = torch.arange(len(labels)) < 1 + len(labels) // 3
    sums = world.all_reduce_sum(torch.stack([weights[first].sum(), weights[~first].sum()]))
    head = build(case)
    optimizer = partialfc.RowSGD(head, lr=1.0, unsampled="frozen")
    total = torch.zeros((), dtype=torch.float64)
    for part, chosen in zip(sums / sums.sum(), (first, ~first), strict=True):
        loss = head(embeddings[chosen], labels[chosen], weights[chosen]) * part
        loss.backward()
        total += loss.detach()
    optimizer.step()
    return total.item(), head.weight.detach()


@pytest.mark.parametrize("world_size", [1, 3])
def test_micro_batches_by_their_part_of_all_weights_make_the_weighted_mean_of_the_step(run_ranks, world_size):
    case = Case(even(world_size), weights=WEIGHTS)
    whole = run_ranks(run_case, world_size, case)
    for result, (loss, weight) in zip(
        whole, run_ranks(train_in_two_micro_batches, world_size, case), strict=True
    ):
        assert loss == pytest.approx(result["loss"], abs=1e-12)
        torch.testing.assert_close(weight, result["weight"], atol=1e-12, rtol=1e-12)
