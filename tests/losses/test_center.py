"""The centre loss's own centres: where they move, what is kept of them, and what a step touches."""

import copy

import pytest
import torch

import partialfc
from partialfc.distributed import World
from tests.losses import reference
from tests.losses.cases import (
    BATCHES,
    TOLERANCE,
    C,
    D,
    a_head,
    embeddings_of,
    own_centres,
    own_part,
    some_centres,
)
from tests.torch_calls import TorchCalls


def three_steps(sizes, labels, normalise):
    loss = own_centres(alpha=0.4, normalise=normalise)
    mine = own_part(sizes)
    for step in range(3):
        loss(embeddings_of(labels, seed=step)[mine], torch.tensor(labels)[mine])
    return loss.centres


@pytest.mark.parametrize("normalise", [False, True], ids=["raw", "unit"])
@pytest.mark.parametrize("batch", ["alone", "two ranks", "three uneven", "a rank ignores all", "all ignored"])
def test_centres_move_as_the_paper_says(run_ranks, batch, normalise):
    sizes, labels = BATCHES[batch]
    expected = some_centres().tolist()
    for step in range(3):
        rows = embeddings_of(labels, seed=step).tolist()
        taken = reference.unit_rows(rows) if normalise else rows
        expected = reference.moved_centres(expected, taken, labels, 0.4)
    moved = torch.cat(run_ranks(three_steps, len(sizes), sizes, labels, normalise))
    torch.testing.assert_close(moved, torch.tensor(expected, dtype=torch.float64), atol=TOLERANCE, rtol=0)


def test_centres_begin_at_0_and_stay_in_eval_mode():
    loss = partialfc.CenterLoss(D, C)
    assert not loss.centres.any()
    x, y = embeddings_of([1, 1, 2]), torch.tensor([1, 1, 2])
    loss.eval()(x, y)
    assert not loss.centres.any()
    loss.train()(x, y)
    assert loss.centres[[1, 2]].any(dim=1).all()
    assert not loss.centres[[0, 3, 4, 5, 6]].any()


def test_a_loss_that_is_not_finite_moves_no_centre():
    loss = own_centres()
    x = embeddings_of([1, 1, 2])
    x[1, 0] = torch.nan
    assert not loss(x, torch.tensor([1, 1, 2])).isfinite()
    assert torch.equal(loss.centres, some_centres())


@pytest.mark.parametrize("skip", [None, 1.0, 0.0], ids=["always", "skipped", "applied"])
def test_what_has_moved_since_keep_can_be_put_back(skip):
    loss, twin = own_centres(), own_centres()
    for each in (loss, twin):
        each(embeddings_of([1, 1, 2]), torch.tensor([1, 1, 2]))
    loss.keep()
    kept = loss.centres.clone()
    for seed in (1, 2):  # two micro-batches of one step
        for each in (loss, twin):
            each(embeddings_of([1, 0, 2], seed), torch.tensor([1, 0, 2]))
    loss.restore(None if skip is None else torch.tensor(skip))
    assert torch.equal(loss.centres, twin.centres if skip == 0 else kept)
    assert not torch.equal(kept, twin.centres)


def test_a_step_touches_the_centres_of_its_classes_alone():
    """A million centres are 64 MB; a step of 8 samples takes some kilobytes."""
    loss = partialfc.CenterLoss(16, 1_000_000)
    x = torch.randn(8, 16, requires_grad=True)
    with TorchCalls() as calls:
        loss.keep()
        loss(x, torch.arange(8) * 100_000).backward()
        loss.restore(torch.tensor(0.0))
    assert calls.peak < 20_000


def test_the_centres_of_the_head_are_those_of_the_moment_and_get_no_gradient():
    head = a_head()
    optimizer = partialfc.RowSGD(head, lr=5.0, momentum=0.9)
    beside, labels = partialfc.CenterLoss(head=head), torch.tensor([1, 1, 2])
    assert not {*beside.state_dict()} - {"_extra_state"}
    assert not [*beside.parameters()]
    x = embeddings_of([1, 1, 2])
    for _ in range(3):
        loop = reference.centre(reference.unit_rows(head.current_rows().tolist()), normalise=True)
        value, gradient = reference.value_and_gradient(loop, x, labels)
        embeddings = x.clone().requires_grad_()
        found = beside(embeddings, labels)
        found.backward()
        assert found.item() == pytest.approx(value, abs=TOLERANCE)
        torch.testing.assert_close(embeddings.grad, gradient, atol=TOLERANCE, rtol=0)
        assert not head.has_row_gradients()
        head(x.clone().requires_grad_(), labels).backward()
        optimizer.step()


def test_of_several_centres_of_the_head_the_nearest_counts():
    margin = partialfc.SubCenter(k=3, base=partialfc.ArcFace(scale=8.0))
    head = partialfc.PartialFC(D, C, margin=margin)
    x, labels = embeddings_of([1, 1, 2]), torch.tensor([1, 1, 2])
    centres = head.weight.detach().view(C, 3, D)
    cos = torch.cosine_similarity(x.float()[:, None], centres[labels], dim=2).amax(dim=1)
    found = partialfc.CenterLoss(head=head)(x.float(), labels)
    assert found.item() == pytest.approx((1 - cos).mean().item(), rel=1e-5)


def saved_and_loaded():
    world = World.of()
    loss = own_centres()
    other = partialfc.CenterLoss(D, C, dtype=torch.float64)
    other.load_state_dict(loss.state_dict())
    assert torch.equal(other.centres, loss.centres)
    state = copy.deepcopy(loss.state_dict())
    state["_extra_state"]["shard"]["rank"] = (world.rank + 1) % world.size
    with pytest.raises(ValueError, match="this state is another shard's: its rank is"):
        other.load_state_dict(state)


def test_a_state_is_loaded_by_the_rank_that_saved_it(run_ranks):
    run_ranks(saved_and_loaded, 2)


def before_the_group(store):
    torch.distributed.destroy_process_group()
    losses = partialfc.CenterLoss(D, C), partialfc.TripletLoss()
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    losses[1](torch.randn(2, D), torch.tensor([0, 1]))  # one rank alone: all the same
    return True


def test_a_loss_of_one_rank_may_be_built_before_its_group(run_ranks, tmp_path):
    assert run_ranks(before_the_group, 1, str(tmp_path / "store")) == [True]


def inside_ddp():
    class Both(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone, self.loss = torch.nn.Linear(D, D), partialfc.CenterLoss(D, 2 * C)

        def forward(self, x, labels):
            return self.loss(self.backbone(x), labels)

    parallel = torch.nn.parallel.DistributedDataParallel(Both())
    parallel(torch.randn(2, D), torch.tensor([0, 1]))


def test_a_centre_loss_inside_ddp_is_told(rank_outcomes):
    for outcome in rank_outcomes(inside_ddp, 2):
        assert "this loss is inside DistributedDataParallel, which has overwritten its shard" in str(outcome)
