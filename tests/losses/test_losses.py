"""Each loss against its loop over scalars: the same value and the same gradients at every world size."""

import copy
import pickle

import numpy as np
import pytest
import torch

import partialfc
from partialfc.distributed import World
from tests.losses import reference
from tests.losses.cases import (
    BATCHES,
    LOSSES,
    TOLERANCE,
    D,
    embeddings_of,
    own_centres,
    own_part,
    run_loss,
)


def run_all(sizes, labels):
    return {name: run_loss(name, sizes, labels) for name in LOSSES}


@pytest.mark.parametrize("batch", BATCHES)
def test_values_and_gradients_are_those_of_the_loop(run_ranks, batch):
    sizes, labels = BATCHES[batch]
    results = run_ranks(run_all, len(sizes), sizes, labels)
    for name, (_, loop) in LOSSES.items():
        value, gradient = reference.value_and_gradient(loop(), embeddings_of(labels), torch.tensor(labels))
        assert [result[name][0] for result in results] == pytest.approx([value] * len(sizes), abs=TOLERANCE)
        assert len({result[name][0] for result in results}) == 1
        whole = torch.cat([result[name][1] for result in results])
        torch.testing.assert_close(whole, gradient, atol=TOLERANCE, rtol=0, msg=name)
    if batch not in ("all ignored", "no samples"):
        assert results[0]["center"][0] > 0


@pytest.mark.parametrize("name", LOSSES)
def test_gradcheck(name):
    loss, labels = LOSSES[name][0]().eval(), [0, 0, 1, 1, 1, 2, -1, 3, 2]
    x = embeddings_of(labels, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, torch.tensor(labels)), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", LOSSES)
def test_narrow_embeddings_are_summed_in_float32(name, dtype):
    _, labels = BATCHES["alone"]
    x = embeddings_of(labels).to(dtype).requires_grad_()
    value = LOSSES[name][0]()(x, torch.tensor(labels))
    value.backward()
    expected, gradient = reference.value_and_gradient(LOSSES[name][1](), x, torch.tensor(labels))
    assert value.item() == pytest.approx(expected, rel=1e-5)
    assert x.grad.dtype == dtype
    close = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 1e-3}[dtype]
    torch.testing.assert_close(x.grad.double(), gradient, atol=close * gradient.abs().max(), rtol=close)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_opposite_and_zero_embeddings_have_finite_gradients(name, dtype):
    direction = torch.randn(D, generator=torch.Generator().manual_seed(1), dtype=dtype)
    rows = [direction, direction, -direction, -2 * direction, 0 * direction, 0 * direction, 1e-30 * direction]
    for labels in ([0, 0, 0, 0, 0, 0, 0], [0, 1, 2, 3, 4, 5, 6], [0, 0, 1, 1, 2, 2, 0]):
        x = torch.stack(rows).requires_grad_()
        value = LOSSES[name][0]()(x, torch.tensor(labels))
        value.backward()
        assert value.isfinite()
        assert x.grad.isfinite().all()
        assert x.grad.abs().max() < 1e6


def test_equal_samples_are_at_distance_0_and_opposite_ones_at_pi():
    direction = torch.randn(2, 512, generator=torch.Generator().manual_seed(1))
    twins = direction.repeat(2, 1)
    assert partialfc.ContrastiveLoss()(twins, torch.tensor([0, 1, 0, 1])) == pytest.approx(0, abs=1e-7)
    assert partialfc.AngularContrastiveLoss()(twins, torch.tensor([0, 1, 0, 1])) == 0
    apart = torch.stack([direction[0], -direction[0]])
    assert partialfc.AngularContrastiveLoss()(apart, torch.tensor([0, 0])) == pytest.approx(np.pi**2)


def the_same_backbone_gradients(name, sizes, labels):
    """A backbone in DistributedDataParallel; its gradient."""
    torch.manual_seed(0)
    backbone = torch.nn.Linear(D, D).double()
    if World.of().size > 1:
        backbone = torch.nn.parallel.DistributedDataParallel(backbone)
    mine = own_part(sizes)
    embeddings = backbone(embeddings_of(labels)[mine])
    LOSSES[name][0]()(embeddings, torch.tensor(labels)[mine]).backward()
    return next(backbone.parameters()).grad


@pytest.mark.parametrize("name", LOSSES)
def test_a_backbone_in_ddp_gets_the_gradients_of_one_process(run_ranks, name):
    sizes, labels = BATCHES["three uneven"]
    (expected,) = run_ranks(the_same_backbone_gradients, 1, name, [sum(sizes)], labels)
    for found in run_ranks(the_same_backbone_gradients, 3, name, sizes, labels):
        torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0)


def test_the_three_ways_of_mining_differ():
    _, labels = BATCHES["alone"]
    found = {name: run_loss(name, [12], labels)[0] for name in LOSSES if name.startswith("triplet")}
    assert len(set(found.values())) == len(found)


def test_a_loss_moves_the_embeddings_it_is_alone_on():
    """A few steps of gradient descent bring each loss down, without a head."""
    labels = torch.arange(12) % 3
    for name, (make, _) in LOSSES.items():
        loss, x = make(), embeddings_of([0] * 12, seed=2).requires_grad_()
        first = loss(x, labels).item()
        for _ in range(60):
            value = loss(x, labels)
            (gradient,) = torch.autograd.grad(value, x)
            with torch.no_grad():
                x -= gradient
        assert value.item() < first * 0.7, name


def copied_and_pickled():
    for name, (make, _) in LOSSES.items():
        loss, (sizes, labels) = make().eval(), BATCHES["two ranks"]
        mine = own_part(sizes)
        batch = embeddings_of(labels)[mine], torch.tensor(labels)[mine]
        value = loss(*batch)
        for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
            assert other(*batch) == value, name


def test_a_copy_and_a_pickle_go_on_in_the_process_group(run_ranks):
    run_ranks(copied_and_pickled, 2)


def test_a_second_derivative_is_an_error():
    x = embeddings_of([0, 0, 1, 1]).requires_grad_()
    value = partialfc.TripletLoss()(x, torch.tensor([0, 0, 1, 1]))
    (gradient,) = torch.autograd.grad(value, x, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        gradient.sum().backward()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: partialfc.ContrastiveLoss(margin=0), r"margin is 0; it must be a finite number above 0"),
        (lambda: partialfc.ContrastiveLoss(normalise=1), "normalise is 1; it must be one of False, True"),
        (lambda: partialfc.ContrastiveLoss(balanced=None), "balanced is None; it must be one of False, True"),
        (lambda: partialfc.ContrastiveLoss(margin=3.0), "margin is 3.0; .* above 0 and at most 2"),
        (lambda: partialfc.AngularContrastiveLoss(margin=4), "margin is 4; .* above 0 and at most 3.14"),
        (lambda: partialfc.TripletLoss(mining="soft"), "mining is 'soft'; it must be one of all, hard, semi"),
        (lambda: partialfc.TripletLoss(margin=-1.0), "margin is -1.0; it must be a finite number above 0"),
        (lambda: partialfc.TripletLoss(process_group=3), "process_group is 3; it must be None"),
        (lambda: partialfc.CenterLoss(), "embedding_size is None; it must be a whole number of at least 1"),
        (lambda: partialfc.CenterLoss(4, 0), "num_classes is 0; it must be a whole number of at least 1"),
        (lambda: partialfc.CenterLoss(4, 3, alpha=1.5), "alpha is 1.5; .* above 0 and at most 1"),
        (lambda: partialfc.CenterLoss(4, 3, dtype=torch.float16), "dtype is torch.float16; it must be one"),
        (lambda: partialfc.CenterLoss(head=3), "head is 3; it must be a PartialFC"),
    ],
    ids=lambda value: value.partition(" is ")[0] if isinstance(value, str) else "",
)
def test_wrong_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_what_does_not_go_with_a_head_is_refused():
    head = partialfc.PartialFC(4, 3, margin=partialfc.ArcFace())
    with pytest.raises(ValueError, match=r"alpha is 0\.5; with head it must be None: the head has its own"):
        partialfc.CenterLoss(head=head, alpha=0.5)


@pytest.mark.parametrize(
    ("embeddings", "labels", "message"),
    [
        (torch.zeros(2, 5), torch.tensor([-2, 0]), "label -2 at sample 0: labels must be at least 0, or -1"),
        (torch.zeros(2), torch.tensor([0, 0]), r"embeddings.shape is \(2,\); it must be \[B, D\]"),
        (torch.zeros(2, 5), torch.tensor([0]), r"labels.shape is \(1,\); it must be \[2\], one an embedding"),
        (
            torch.zeros(2, 5),
            torch.tensor([0.0, 1.0]),
            "labels.dtype is torch.float32; it must be",
        ),
        (torch.zeros(2, 5, dtype=torch.int64), torch.tensor([0, 0]), "must be floating-point, one of"),
        ([[0.0]], torch.tensor([0]), "embeddings is a list; it must be a torch.Tensor"),
    ],
    ids=["label", "one_dimension", "too_few_labels", "real_labels", "whole_embeddings", "a_list"],
)
def test_wrong_inputs_are_refused(embeddings, labels, message):
    with pytest.raises(ValueError, match=message):
        partialfc.TripletLoss()(embeddings, labels)


def test_the_centre_loss_knows_its_sizes():
    loss = own_centres()
    with pytest.raises(partialfc.LabelError, match=r"label 7 at sample 1: num_classes is 7, so labels must"):
        loss(embeddings_of([0, 7]), torch.tensor([0, 7]))
    with pytest.raises(ValueError, match=r"it must be \[B, 5\], the loss's embedding_size"):
        loss(torch.zeros(2, 4), torch.tensor([0, 1]))


def differing(how):
    rank = World.of().rank
    margin = 0.2 if how != "built" or rank == 0 else 0.3
    size = 5 if how != "size" or rank == 0 else 6
    x = torch.randn(4, size, requires_grad=how != "gradient" or rank == 0)
    if how == "loss" and rank == 1:
        return partialfc.ContrastiveLoss()(x, torch.arange(4))
    if how == "head" and rank == 1:
        return partialfc.PartialFC(5, 9, margin=partialfc.ArcFace())(x, torch.arange(4))
    labels = torch.arange(4) if how != "label" or rank == 0 else torch.tensor([0, 1, -7, 2])
    return partialfc.TripletLoss(margin=margin)(x, labels)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("built", r"ranks \[1\] call another loss than rank 0, or built it otherwise"),
        ("loss", r"ranks \[1\] call another loss than rank 0, or built it otherwise"),
        ("size", r"ranks \[1\] call this loss otherwise than rank 0: .* size and dtype"),
        ("gradient", r"ranks \[1\] call this loss otherwise than rank 0: .* whether gradients are wanted"),
        (
            "head",
            "ranks .1. call the head itself, and rank 0 calls a loss beside the head",
        ),
        ("label", "label -7 at sample 2 on rank 1"),
    ],
    ids=["built", "loss", "size", "gradient", "head", "label"],
)
def test_ranks_that_differ_are_told_so_on_every_rank(rank_outcomes, how, message):
    for outcome in rank_outcomes(differing, 2, how):
        with pytest.raises((partialfc.DistributedError, partialfc.LabelError), match=message):
            raise outcome
