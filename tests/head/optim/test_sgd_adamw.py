"""RowSGD and RowAdamW against torch's dense optimizers, over hundreds of steps."""

import copy
import math
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

import partialfc
from partialfc.distributed import World
from partialfc.head.initial import normal_rows
from partialfc.head.optim import sgd
from tests.head import reference

D, C, N = 8, 60, 12
SCALE = 16.0


def build(sample_rate: float, dtype: torch.dtype = torch.float64) -> partialfc.PartialFC:
    return partialfc.PartialFC(
        D,
        C,
        margin=partialfc.ArcFace(scale=SCALE, margin=0.3),
        sample_rate=sample_rate,
        weight_dtype=dtype,
        compute_dtype=dtype,
    )


def batch(step: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    # Labels of a third of the classes, so that some rows wait for long.
    return torch.randn(N, D, dtype=torch.float64, generator=generator), torch.randint(
        0, C // 3, (N,), generator=generator
    )


def learning_rate(step: int) -> float:
    """A warm-up of 30 steps, then a cosine to 0 at step 300, as a factor."""
    return (step + 1) / 30 if step < 30 else 0.5 * (1 + math.cos(math.pi * (step - 30) / 270))


def train(make: str, options: dict[str, Any], steps: int, sample_rate: float) -> dict[str, Any]:
    """On each rank: the losses, which classes took part in each step, and the flushed rows."""
    world = World.of()
    head = build(sample_rate)
    optimizer = getattr(partialfc, make)(head, **options)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, learning_rate)
    share = N // world.size
    mine = slice(world.rank * share, (world.rank + 1) * share)
    losses, participating = [], []
    for step in range(steps):
        embeddings, labels = batch(step)
        loss = head(embeddings[mine].requires_grad_(), labels[mine])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()
        losses.append(loss.item())
        participating.append(head.last_sample + head.shard.start)
    optimizer.flush()
    state = {name: value.clone() for name, value in optimizer.row_state.items()}
    return {"losses": losses, "participating": participating, "weight": head.weight.detach(), "state": state}


def dense_run(results: list[dict[str, Any]], steps: int, step_rows: Any) -> tuple[list[float], Tensor]:
    """The dense reference: full gradients, zero for absent rows, moved by `step_rows`."""
    weight = normal_rows(0, C, D, seed=0, dtype=torch.float64).requires_grad_()
    move = step_rows(weight)
    losses = []
    for step in range(steps):
        participating = torch.cat([result["participating"][step] for result in results])
        embeddings, labels = batch(step)
        weight.grad = None
        loss = reference.dense_loss(
            embeddings,
            weight,
            labels,
            margin=reference.combined(1, 0.3, 0),
            scale=SCALE,
            participating=participating,
        )
        loss.backward()
        move(participating)
        losses.append(loss.item())
    return losses, weight.detach()


def torch_sgd(**options: Any) -> Any:
    def begin(weight: Tensor) -> Any:
        optimizer = torch.optim.SGD([weight], **options)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, learning_rate)

        def move(participating: Tensor) -> None:
            optimizer.step()
            scheduler.step()

        return move

    return begin


def per_row(make: Any, **options: Any) -> Any:
    """One torch optimizer a row, stepped only when the row takes part; the schedule counts every step."""

    def begin(weight: Tensor) -> Any:
        rows = [weight[i].detach().clone().requires_grad_() for i in range(len(weight))]
        optimizers = [make([row], **options) for row in rows]
        count = 0

        def move(participating: Tensor) -> None:
            nonlocal count
            for i in participating.tolist():
                optimizers[i].param_groups[0]["lr"] = options["lr"] * learning_rate(count)
                rows[i].grad = weight.grad[i].clone()
                optimizers[i].step()
                with torch.no_grad():
                    weight[i] = rows[i]
            count += 1

        return move

    return begin


SGD = {"lr": 0.5, "momentum": 0.9, "weight_decay": 5e-3}


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize(
    ("sample_rate", "options"),
    [(1.0, SGD), (0.1, SGD), (0.1, SGD | {"momentum": 0.0}), (0.1, SGD | {"weight_decay": 0.0})],
)
def test_dense_sgd_follows_torch_for_300_steps(run_ranks, world_size, sample_rate, options):
    results = run_ranks(train, world_size, "RowSGD", options, 300, sample_rate)
    losses, weight = dense_run(results, 300, torch_sgd(**options))
    assert results[0]["losses"] == pytest.approx(losses, abs=1e-10, rel=0)
    torch.testing.assert_close(torch.cat([r["weight"] for r in results]), weight, atol=1e-10, rtol=0)


@pytest.mark.parametrize("world_size", [1, 2])
def test_frozen_sgd_moves_rows_only_when_they_take_part(run_ranks, world_size):
    options = SGD | {"unsampled": "frozen"}
    results = run_ranks(train, world_size, "RowSGD", options, 200, 0.1)
    losses, weight = dense_run(results, 200, per_row(torch.optim.SGD, **SGD))
    assert results[0]["losses"] == pytest.approx(losses, abs=1e-10, rel=0)
    torch.testing.assert_close(torch.cat([r["weight"] for r in results]), weight, atol=1e-10, rtol=0)


@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize("sample_rate", [1.0, 0.1])
def test_adamw_is_torchs_on_each_rows_own_steps(run_ranks, world_size, sample_rate):
    options = {"lr": 0.01, "weight_decay": 0.1}
    results = run_ranks(train, world_size, "RowAdamW", options, 100, sample_rate)
    losses, weight = dense_run(results, 100, per_row(torch.optim.AdamW, **options))
    assert results[0]["losses"] == pytest.approx(losses, abs=1e-9, rel=0)
    torch.testing.assert_close(torch.cat([r["weight"] for r in results]), weight, atol=1e-9, rtol=0)


def test_a_full_decay_table_is_paid_off(monkeypatch):
    """With room for 7 pending steps the result is the same: the sweep is a matter of cost alone."""
    expected = train("RowSGD", SGD, 40, 0.1)
    monkeypatch.setattr(sgd, "MOST_PENDING_STEPS", 7)
    result = train("RowSGD", SGD, 40, 0.1)
    torch.testing.assert_close(result["weight"], expected["weight"], atol=1e-12, rtol=0)


def test_float32_rows_stay_close_to_dense_steps():
    """Paying many steps at once rounds less, not more, than taking them one by one."""
    options = {"lr": 0.5, "momentum": 0.9, "weight_decay": 5e-3}
    results = [train("RowSGD", options, 200, 0.1)]
    head = build(0.1, torch.float32)
    optimizer = partialfc.RowSGD(head, **options)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, learning_rate)
    for step in range(200):
        embeddings, labels = batch(step)
        head(embeddings.float().requires_grad_(), labels).backward()
        optimizer.step()
        scheduler.step()
    optimizer.flush()
    torch.testing.assert_close(head.weight.detach().double(), results[0]["weight"], atol=2e-4, rtol=1e-3)


def steps(head, optimizer, first, last):
    losses = []
    for step in range(first, last):
        embeddings, labels = batch(step)
        loss = head(embeddings.requires_grad_(), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize(
    ("make", "options"),
    [("RowSGD", SGD), ("RowSGD", SGD | {"unsampled": "frozen"}), ("RowAdamW", {"lr": 0.01})],
)
def test_state_dicts_resume_bit_for_bit(make, options, tmp_path):
    head = build(0.1)
    optimizer = getattr(partialfc, make)(head, **options)
    steps(head, optimizer, 0, 20)
    torch.save({"head": head.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "state.pt")
    expected = steps(head, optimizer, 20, 40)

    other = build(0.1)
    resumed = getattr(partialfc, make)(other, **(options | {"lr": 0.123}))
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    other.load_state_dict(state["head"])
    resumed.load_state_dict(state["optimizer"])
    assert steps(other, resumed, 20, 40) == expected
    optimizer.flush()
    resumed.flush()
    assert torch.equal(head.weight, other.weight)


def test_gradients_are_applied_once_and_zero_grad_drops_them():
    head = build(1.0)
    optimizer = partialfc.RowSGD(head, lr=0.5)
    embeddings, labels = batch(0)
    head(embeddings.requires_grad_(), labels).backward()
    optimizer.step()
    after = copy.deepcopy(head.weight.detach())
    optimizer.step()
    assert torch.equal(head.weight.detach(), after)
    head(embeddings, labels).backward()
    optimizer.zero_grad()
    optimizer.step()
    assert torch.equal(head.weight.detach(), after)


def test_the_head_sees_owed_rows_before_a_flush():
    """The weight is stale between flushes; what the head computes with is not."""
    head = build(0.1)
    optimizer = partialfc.RowSGD(head, **SGD)
    steps(head, optimizer, 0, 20)
    now = head.current_rows().clone()
    assert not torch.equal(head.weight.detach(), now)
    optimizer.flush()
    assert torch.equal(head.weight.detach(), now)
    assert torch.equal(head.current_rows(), now)


def test_bfloat16_centres_learn():
    embeddings, labels = batch(0)
    head = partialfc.PartialFC(
        D, C, margin=partialfc.CosFace(scale=SCALE), weight_dtype=torch.bfloat16, sample_rate=0.5
    )
    optimizer = partialfc.RowSGD(head, lr=1.0, momentum=0.9)
    losses = []
    for _ in range(30):
        loss = head(embeddings.float(), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert head.weight.dtype == torch.bfloat16
    assert losses[-1] < 0.5 * losses[0]


def test_momentum_may_be_raised_from_zero():
    """As OneCycleLR does; the reference is torch.optim.SGD with the same change."""
    head = build(0.1)
    optimizer = partialfc.RowSGD(head, lr=0.5, weight_decay=5e-3)
    weight = normal_rows(0, C, D, seed=0, dtype=torch.float64).requires_grad_()
    dense = torch.optim.SGD([weight], lr=0.5, weight_decay=5e-3)
    for step in range(30):
        for group in (optimizer.param_groups[0], dense.param_groups[0]):
            group["momentum"] = 0.9 if step >= 5 else 0.0
        embeddings, labels = batch(step)
        head(embeddings, labels).backward()
        optimizer.step()
        dense.zero_grad()
        reference.dense_loss(
            embeddings,
            weight,
            labels,
            margin=reference.combined(1, 0.3, 0),
            scale=SCALE,
            participating=head.last_sample,
        ).backward()
        dense.step()
    optimizer.flush()
    torch.testing.assert_close(head.weight.detach(), weight.detach(), atol=1e-10, rtol=0)


def test_a_heads_state_dict_holds_the_rows_as_they_are_now():
    head = build(0.1)
    optimizer = partialfc.RowSGD(head, **SGD)
    steps(head, optimizer, 0, 20)
    now = head.current_rows().clone()
    assert torch.equal(head.state_dict()["weight"], now)


def test_rows_loaded_into_a_head_owe_nothing():
    head = build(0.1)
    optimizer = partialfc.RowSGD(head, **SGD)
    steps(head, optimizer, 0, 20)
    state = {name: copy.deepcopy(value) for name, value in head.state_dict().items()}
    steps(head, optimizer, 20, 40)
    head.load_state_dict(state)
    assert torch.equal(head.current_rows(), state["weight"])


def test_a_copy_of_a_head_is_a_head_of_its_own():
    head = build(0.1)
    optimizer = partialfc.RowSGD(head, **SGD)
    steps(head, optimizer, 0, 20)
    other = copy.deepcopy(head)
    assert torch.equal(other.weight, head.weight)
    again = partialfc.RowSGD(other, **SGD)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert steps(other, again, 20, 30) == steps(head, optimizer, 20, 30)


def test_a_copied_head_does_not_take_the_optimizer_beside_it():
    """Whatever else is copied with it: the optimizer says that it cannot be."""
    head = build(0.1)
    beside = {"head": head, "optimizer": partialfc.RowSGD(head, **SGD)}
    with pytest.raises(TypeError, match="neither copied nor pickled"):
        copy.deepcopy(beside)


@pytest.mark.parametrize("make", ["RowSGD", "RowAdamW"])
@pytest.mark.parametrize("take", [copy.copy, copy.deepcopy, pickle.dumps])
def test_row_optimizers_refuse_to_be_copied_and_name_the_way(make, take):
    optimizer = getattr(partialfc, make)(build(0.1), lr=0.1)
    message = rf"a {make} .* keep head\.state_dict\(\) and optimizer\.state_dict\(\)"
    with pytest.raises(TypeError, match=message):
        take(optimizer)


def test_a_pickled_head_is_a_head_of_its_own(tmp_path):
    """The rows as they are now, without optimizer or waiting gradients; it trains on with a new one."""
    head = build(0.1)
    optimizer = partialfc.RowSGD(head, **SGD)
    steps(head, optimizer, 0, 20)
    embeddings, labels = batch(20)
    head(embeddings, labels).backward()
    torch.save(head, tmp_path / "head.pt")
    optimizer.zero_grad()
    other = torch.load(tmp_path / "head.pt", weights_only=False)
    assert not other.has_row_gradients()
    assert torch.equal(other.weight, head.current_rows())
    again = partialfc.RowSGD(other, **SGD)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert steps(other, again, 21, 30) == steps(head, optimizer, 21, 30)


def pickle_here_or_there(path: str) -> tuple[bool, str]:
    """On two ranks: each pickles its head and loads it, then rank 0 loads rank 1's."""
    head = build(1.0)
    own = pickle.loads(pickle.dumps(head))
    same = torch.equal(own.weight, head.weight) and own.world == head.world
    if head.world.rank == 1:
        torch.save(head, path)
    head.world.gather_integers([0])
    if head.world.rank == 1:
        return same, ""
    with pytest.raises(RuntimeError) as caught:
        torch.load(path, weights_only=False)
    return same, str(caught.value)


def test_a_pickled_head_goes_back_to_its_rank_alone(run_ranks, tmp_path):
    (same, message), (same_there, _) = run_ranks(pickle_here_or_there, 2, str(tmp_path / "head.pt"))
    assert same
    assert same_there
    assert "pickled on rank 1 of 2, and this process is rank 0 of 2" in message


def test_zero_grad_of_the_head_drops_what_waits():
    head = build(1.0)
    optimizer = partialfc.RowSGD(head, lr=0.5)
    before = head.weight.detach().clone()
    embeddings, labels = batch(0)
    head(embeddings, labels).backward()
    head.zero_grad()
    optimizer.step()
    assert torch.equal(head.weight.detach(), before)


def test_a_step_that_fails_half_way_is_not_passed_over(monkeypatch):
    head = build(1.0)
    optimizer = partialfc.RowSGD(head, **SGD)
    embeddings, labels = batch(0)
    head(embeddings, labels).backward()

    def fail(*_: Any) -> None:
        raise MemoryError("as when a device runs out")

    with monkeypatch.context() as patched:
        patched.setattr(optimizer, "_update", fail)
        with pytest.raises(MemoryError):
            optimizer.step()
    with pytest.raises(RuntimeError, match="failed half way"):
        head(embeddings, labels)


def test_other_optimizers_state_and_groups_are_refused():
    frozen = partialfc.RowSGD(build(1.0), lr=0.1, unsampled="frozen").state_dict()
    optimizer = partialfc.RowSGD(build(1.0), lr=0.1)
    with pytest.raises(ValueError, match=r"not that of a RowSGD like this one: \['row_step'\] differ"):
        optimizer.load_state_dict(frozen)
    with pytest.raises(ValueError, match="moves the centres of one head"):
        optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(1))]})


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, r"state_dict is \{\}; it must be what RowSGD\.state_dict\(\) gave"),
        (None, "state_dict is None"),
        (
            torch.optim.SGD(torch.nn.Linear(2, 2).parameters(), lr=0.1, momentum=0.9).state_dict(),
            r"not that of a RowSGD like this one: .*'row_step'",
        ),
        (
            {"state": {0: {}, 1: {}}, "param_groups": []},
            "state_dict is that of 2 parameters, so not that of a RowSGD",
        ),
    ],
)
def test_what_is_no_state_of_a_row_optimizer_is_refused(state, message):
    with pytest.raises(ValueError, match=message):
        partialfc.RowSGD(build(1.0), lr=0.1).load_state_dict(state)


def test_state_of_other_sizes_or_dtypes_is_refused():
    def optimizer(classes: int, dtype: torch.dtype) -> partialfc.RowSGD:
        head = partialfc.PartialFC(D, classes, margin=partialfc.ArcFace())
        return partialfc.RowSGD(head, lr=0.1, momentum=0.9, momentum_dtype=dtype)

    saved = optimizer(10, torch.float32).state_dict()
    with pytest.raises(ValueError, match=r"momentum is \[10, 8\] torch.float32, .* RowSGD's is \[12, 8\]"):
        optimizer(12, torch.float32).load_state_dict(saved)
    with pytest.raises(ValueError, match=r"momentum is \[10, 8\] torch.float32, .* \[10, 8\] torch.bfloat16"):
        optimizer(10, torch.bfloat16).load_state_dict(saved)
