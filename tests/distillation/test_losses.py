"""The losses of distillation against their loops: the same value and gradients at every world size."""

import copy
import pickle

import pytest
import torch

import partialfc
from partialfc.distributed import World
from tests.distillation import reference
from tests.losses.cases import BATCHES, TOLERANCE, D, embeddings_of, own_part

LOSSES = {
    "angular": (partialfc.AngularDistillation, reference.angular),
    "l2": (partialfc.FeatureDistillation, reference.features),
}
names = pytest.mark.parametrize("name", LOSSES)


def teacher_of(labels):
    return 3 * embeddings_of(labels, seed=1)


def run_all(sizes, labels):
    """On each rank, by loss: its value, and its own embeddings' gradient as DDP's averaging leaves it."""
    mine, found = own_part(sizes), {}
    for name, (make, _) in LOSSES.items():
        x = embeddings_of(labels)[mine].clone().requires_grad_()
        t = teacher_of(labels)[mine].requires_grad_()
        value = make()(x, t, torch.tensor(labels, dtype=torch.int64)[mine])
        (value * 3).backward()
        assert t.grad is None
        found[name] = value.item(), x.grad / 3 / World.of().size
    return found


@pytest.mark.parametrize("batch", BATCHES)
def test_values_and_gradients_are_those_of_the_loop(run_ranks, batch):
    sizes, labels = BATCHES[batch]
    results = run_ranks(run_all, len(sizes), sizes, labels)
    for name, (_, term) in LOSSES.items():
        value, gradient = reference.value_and_gradient(
            term, embeddings_of(labels), teacher_of(labels), torch.tensor(labels)
        )
        assert [result[name][0] for result in results] == pytest.approx([value] * len(sizes), abs=TOLERANCE)
        assert len({result[name][0] for result in results}) == 1
        whole = torch.cat([result[name][1] for result in results])
        torch.testing.assert_close(whole, gradient, atol=TOLERANCE, rtol=0, msg=name)


@names
def test_gradcheck(name):
    labels = [0, 0, 0, 0, 0]
    x = embeddings_of(labels, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: LOSSES[name][0]()(x, teacher_of(labels)), x)


@names
def test_no_label_is_needed(name):
    labels = [4, 0, 2]
    loss, x, t = LOSSES[name][0](), embeddings_of(labels), teacher_of(labels)
    assert loss(x, t) == loss(x, t, torch.tensor(labels))
    assert loss(x[1:], t[1:]) == loss(x, t, torch.tensor([-1, 0, 0]))


def the_same_student(name, sizes, labels):
    """A student in DistributedDataParallel; its gradient."""
    torch.manual_seed(0)
    student = torch.nn.Linear(D, D).double()
    if World.of().size > 1:
        student = torch.nn.parallel.DistributedDataParallel(student)
    mine = own_part(sizes)
    LOSSES[name][0]()(student(embeddings_of(labels)[mine]), teacher_of(labels)[mine]).backward()
    return next(student.parameters()).grad


@names
@pytest.mark.parametrize("sizes", [[6, 6], [7, 1, 4]], ids=["two", "three_uneven"])
def test_a_student_in_ddp_gets_the_gradients_of_one_process(run_ranks, name, sizes):
    labels = [0] * 12
    (expected,) = run_ranks(the_same_student, 1, name, [12], labels)
    for found in run_ranks(the_same_student, len(sizes), name, sizes, labels):
        torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0)


@names
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_narrow_embeddings_are_summed_in_float32(name, dtype):
    labels = [0] * 12
    x, t = embeddings_of(labels).to(dtype).requires_grad_(), teacher_of(labels).bfloat16()
    value = LOSSES[name][0]()(x, t)
    value.backward()
    expected, gradient = reference.value_and_gradient(LOSSES[name][1], x, t, torch.tensor(labels))
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected, rel=1e-5)
    assert x.grad.dtype == dtype
    close = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 1e-3}[dtype]
    torch.testing.assert_close(x.grad.double(), gradient, atol=close * gradient.abs().max(), rtol=close)


@names
def test_equal_opposite_and_zero_embeddings_have_finite_gradients(name):
    direction = torch.randn(D, generator=torch.Generator().manual_seed(1))
    x = torch.stack([direction, -direction, 0 * direction, 1e-30 * direction, direction]).requires_grad_()
    t = torch.stack([direction, direction, direction, direction, 0 * direction])
    value = LOSSES[name][0]()(x, t)
    value.backward()
    assert value.isfinite()
    assert x.grad.isfinite().all()


def test_the_norm_counts_for_one_of_the_two():
    labels = [0, 0, 0]
    x, t = embeddings_of(labels), teacher_of(labels)
    angular, features = partialfc.AngularDistillation(), partialfc.FeatureDistillation()
    torch.testing.assert_close(angular(x, t), angular(5 * x, 0.1 * t))
    assert angular(x, 2 * x) == pytest.approx(0, abs=1e-15)
    assert angular(x, -x) == pytest.approx(4)
    assert features(x, 2 * x) == pytest.approx(x.square().sum(1).mean().item())


def copied_and_pickled():
    labels, (sizes, _) = [0] * 12, BATCHES["two ranks"]
    mine = own_part(sizes)
    x, t = embeddings_of(labels)[mine], teacher_of(labels)[mine]
    for make, _ in LOSSES.values():
        loss = make()
        for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
            assert other(x, t) == loss(x, t)


def test_a_copy_and_a_pickle_go_on_in_the_process_group(run_ranks):
    run_ranks(copied_and_pickled, 2)


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ([[0.0]], "teacher is a list; it must be a torch.Tensor, its embeddings"),
        (torch.zeros(2, 5, dtype=torch.int64), "teacher.dtype is torch.int64; it must be a floating-point"),
        (torch.zeros(2, 6), r"teacher.shape is \(2, 6\); it must be \(2, 5\), that of embeddings: both"),
        (torch.zeros(3, 5), r"teacher.shape is \(3, 5\); it must be \(2, 5\)"),
        (torch.zeros(2, 5, device="meta"), "teacher.device is meta; it must be embeddings', cpu"),
    ],
    ids=["a_list", "whole_numbers", "another_size", "another_batch", "another_device"],
)
def test_a_wrong_teacher_is_refused(teacher, message):
    with pytest.raises(ValueError, match=message):
        partialfc.AngularDistillation()(torch.zeros(2, 5), teacher)


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        ([[0.0]], "embeddings is a list; it must be a torch.Tensor"),
        (torch.zeros(5), r"embeddings.shape is \(5,\); it must be \[B, D\]"),
        (torch.zeros(2, 5, dtype=torch.int64), "embeddings.dtype is torch.int64; it must be floating-point"),
    ],
    ids=["a_list", "one_dimension", "whole_numbers"],
)
def test_wrong_embeddings_are_refused(embeddings, message):
    with pytest.raises(ValueError, match=message):
        partialfc.FeatureDistillation()(embeddings, torch.zeros(2, 5))


def differing(how):
    rank = World.of().rank
    x = torch.randn(4, 5)
    if how == "teacher" and rank == 1:
        return partialfc.AngularDistillation()(x, torch.zeros(4, 6))
    if how == "loss" and rank == 1:
        return partialfc.FeatureDistillation()(x, x)
    return partialfc.AngularDistillation()(x, x)


@pytest.mark.parametrize(
    ("how", "messages"),
    [
        ("teacher", ("bad input on rank 1", r"teacher.shape is \(4, 6\)")),
        ("loss", (r"ranks \[1\] call another loss than rank 0",) * 2),
    ],
    ids=["teacher", "loss"],
)
def test_ranks_that_differ_are_told_so_on_every_rank(rank_outcomes, how, messages):
    for outcome, message in zip(rank_outcomes(differing, 2, how), messages, strict=True):
        with pytest.raises((partialfc.DistributedError, ValueError), match=message):
            raise outcome
