"""What a pool keeps: its features through states, copies and pickles, and what it does not let in."""

import copy
import pickle

import pytest
import torch

import partialfc
from partialfc.distributed import World
from tests.pool.cases import STEPS, D, pool_of, run_steps

FIRST, THEN = [0, 1, 2], [3, 4]


def goes_on_alike(shard):
    """A pool from a state, a copy or a pickle, and the one that it came from; whether all go on alike."""
    pool = pool_of("sub_centers", shard=shard)
    run_steps(pool, FIRST)
    loaded = pool_of("sub_centers", shard=shard)
    loaded.load_state_dict(pool.state_dict())
    others = [loaded, copy.deepcopy(pool), pickle.loads(pickle.dumps(pool))]
    expected = run_steps(pool, THEN)
    found = [run_steps(other, THEN) for other in others]
    return [
        each["losses"] == expected["losses"]
        and each["classes"] == expected["classes"]
        and all(torch.equal(a, b) for a, b in zip(each["gradients"], expected["gradients"], strict=True))
        for each in found
    ]


@pytest.mark.parametrize("shard", [False, True], ids=["whole", "sharded"])
def test_a_state_a_copy_and_a_pickle_go_on_alike(run_ranks, shard):
    assert run_ranks(goes_on_alike, 2, shard) == [[True] * 3] * 2


def test_a_state_of_other_slots_is_refused():
    other = partialfc.DynamicClassPool(D, 5, margin=partialfc.CosFace())
    with pytest.raises(ValueError, match="its num_classes is 9, this head's is 5"):
        other.load_state_dict(pool_of("cosface").state_dict(), strict=False)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_feature_that_is_not_finite_leaves_what_was_there(value):
    pool = partialfc.DynamicClassPool(2, 3, margin=partialfc.CosFace(scale=4.0))
    pool.write(torch.tensor([[1.0, 0.0]]), torch.tensor([7]))
    pool.write(torch.tensor([[value, 0.0], [0.0, value]]), torch.tensor([7, 8]))
    assert pool.features.tolist() == [[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    assert pool.classes.tolist() == [7, 8]
    x = torch.randn(3, 2, requires_grad=True)
    loss = pool(x, torch.tensor([7, 8, 9]))
    loss.backward()
    assert loss.isfinite()
    assert x.grad.isfinite().all()


def kept(shard):
    """What classes 5 to 7 have of values 1, 2, 3, ... and one that is not finite among them."""
    pool = partialfc.DynamicClassPool(
        1, 4, margin=partialfc.SubCenter(k=2, base=partialfc.CosFace(scale=4.0)), shard=shard
    )
    world, nan, inf = World.of(), float("nan"), float("inf")
    writes = [[1, 1, nan], [2, nan, inf], [nan, inf, 3], [3, 2, 4], [inf, nan, 5]]
    found = []
    for values in writes:
        mine = slice(world.rank, None, world.size)
        pool.write(torch.tensor(values)[mine, None].float(), torch.tensor([5, 6, 7])[mine])
        counts = [len(part) for part in torch.arange(4).tensor_split(world.size)] if shard else [4]
        features = world.all_gather_rows(pool.features, counts) if shard else pool.features
        order = pool.order_state()
        rows = dict(zip(order["classes"].tolist(), features.tolist(), strict=True))
        found.append([sorted(rows[number]) for number in (5, 6, 7)])
        pool.restore_order(order)
    return found


@pytest.mark.parametrize("shard", [False, True], ids=["whole", "sharded"])
@pytest.mark.parametrize("world_size", [1, 2])
def test_a_class_keeps_its_last_finite_features(run_ranks, world_size, shard):
    """One that is not finite takes no turn; the first finite one fills the class."""
    expected = [
        [[1, 1], [1, 1], [0, 0]],
        [[1, 2], [1, 1], [0, 0]],
        [[1, 2], [1, 1], [3, 3]],
        [[2, 3], [1, 2], [3, 4]],
        [[2, 3], [1, 2], [4, 5]],
    ]
    assert run_ranks(kept, world_size, shard) == [expected] * world_size


@pytest.mark.parametrize("shard", [False, True], ids=["whole", "sharded"])
@pytest.mark.parametrize("of_head", [False, True], ids=["autograd", "head"])
def test_an_embedding_of_norm_0_gets_the_gradient_that_it_gets_of_a_head(shard, of_head):
    """That of torch.nn.functional.normalize: the gradient by the direction, divided by 1e-12."""
    torch.manual_seed(0)
    features, labels, x = torch.randn(4, 3, dtype=torch.float64), torch.arange(4), torch.randn(4, 3).double()
    x[1] = 0
    margin, wide = partialfc.CosFace(scale=4.0, margin=0.35), {"compute_dtype": torch.float64}
    pool = partialfc.DynamicClassPool(3, 4, margin=margin, shard=shard, feature_dtype=torch.float64, **wide)
    pool.write(features, labels)
    found, expected = x.clone().requires_grad_(), x.clone().requires_grad_()
    pool(found, labels).backward()
    if of_head:
        head = partialfc.PartialFC(3, 4, margin=margin, sparse_grad=True, weight_dtype=torch.float64, **wide)
        with torch.no_grad():
            head.weight.copy_(features)
        head(expected, labels).backward()
    else:
        cos = torch.nn.functional.normalize(expected) @ torch.nn.functional.normalize(features).T
        margins = 0.35 * torch.eye(4, dtype=torch.float64)
        torch.nn.functional.cross_entropy(4.0 * (cos - margins), labels).backward()
    assert expected.grad[1].norm() > 1e10
    torch.testing.assert_close(found.grad, expected.grad, atol=1e-12, rtol=1e-9)


def test_no_sample_and_no_class_cost_nothing():
    pool = partialfc.DynamicClassPool(2, 3, margin=partialfc.CosFace())
    x = torch.randn(2, 2, requires_grad=True)
    for labels in ([3, 4], [-1, -1]):
        loss = pool(x, torch.tensor(labels))
        assert loss.item() == 0
        loss.backward()
        assert not x.grad.any()
    pool.write(x, torch.tensor([-1, -1]))
    pool.write(x[:0], torch.tensor([], dtype=torch.int64))
    assert pool.count == 0


def test_memory_is_the_pools_whatever_the_classes():
    """Class ids near the largest number that there is."""
    pool = partialfc.DynamicClassPool(4, 6, margin=partialfc.CosFace())
    labels = torch.iinfo(torch.int64).max - torch.arange(4)
    for shift in range(5):
        pool.write(torch.randn(4, 4), labels - shift)
    assert pool.classes.tolist()[-4:] == (labels - 4).tolist()
    assert pool.features.shape == (pool.count, 4) == (6, 4)


def too_many():
    pool = partialfc.DynamicClassPool(2, 3, margin=partialfc.CosFace())
    rank = World.of().rank
    with pytest.raises(ValueError, match="a write of 4 classes into a pool of size 3"):
        pool.write(torch.randn(2, 2), torch.arange(2) + 2 * rank)
    return pool.count


def test_more_classes_than_slots_are_refused_on_all_ranks(run_ranks):
    assert run_ranks(too_many, 2) == [0, 0]


def out_of_step(kind):
    rank = World.of().rank
    scale = 8.0 if kind == "margin" and rank else 4.0
    pool = partialfc.DynamicClassPool(2, 3, margin=partialfc.CosFace(scale=scale))
    x, labels = torch.randn(2, 2), torch.arange(2)
    if kind == "call" and rank:
        pool(x, labels)
    pool.write(x, labels)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("call", r"ranks \[1\] call the class pool itself, and rank 0 calls pool.write"),
        ("margin", r"ranks \[1\] built their class pool otherwise than rank 0"),
    ],
)
def test_ranks_that_differ_are_told(run_ranks, kind, message):
    with pytest.raises(partialfc.DistributedError, match=message):
        run_ranks(out_of_step, 2, kind)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"embedding_size": 0}, "embedding_size is 0"),
        ({"size": 0}, "size is 0"),
        ({"hard_negatives": 0}, "hard_negatives is 0"),
        ({"hard_negatives": 4}, "hard_negatives is 4; it must be at most size, 3, as no more classes than"),
        ({"weight": -1.0}, "weight is -1.0"),
        ({"shard": 1}, "shard is 1"),
        ({"margin": partialfc.Softmax(bias=True)}, "has a bias"),
        ({"feature_dtype": torch.int64}, "weight_dtype is torch.int64"),
        ({"margin": "cosface"}, "margin is 'cosface'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_argument_is_refused(options, message):
    usual = {"embedding_size": 2, "size": 3, "margin": partialfc.CosFace()}
    with pytest.raises(ValueError, match=message):
        partialfc.DynamicClassPool(**usual | options)


def test_wrong_embeddings_and_labels_are_refused():
    pool = partialfc.DynamicClassPool(2, 3, margin=partialfc.CosFace())
    with pytest.raises(ValueError, match=r"it must be \[B, 2\], the pool's embedding_size"):
        pool.write(torch.randn(2, 3), torch.arange(2))
    with pytest.raises(partialfc.LabelError, match="label -2"):
        pool(torch.randn(2, 2), torch.tensor([-2, 0]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_narrow_features_and_products_are_close(dtype):
    """In float32 arithmetic, with features stored and multiplied in a narrow type."""
    wide, narrow = (
        pool_of("cosface", feature_dtype=each, compute_dtype=each) for each in (torch.float64, dtype)
    )
    expected, found = (run_steps(pool, range(STEPS)) for pool in (wide, narrow))
    close = {torch.float32: 1e-5, torch.bfloat16: 0.3}[dtype]
    assert found["losses"] == pytest.approx(expected["losses"], abs=close)


def test_a_margin_may_follow_another_one():
    pool = pool_of("cosface")
    pool.reconfigure(margin=partialfc.CosFace(scale=8.0, margin=0.1))
    assert pool.margin.scale == 8.0
    with pytest.raises(ValueError, match="cannot follow"):
        pool.reconfigure(margin=partialfc.ArcFace())
