"""RowSGD against torch.optim.SGD on dense gradients, over hundreds of steps."""

from typing import Any

import pytest
import torch
from torch import Tensor

import partialfc
from partialfc.head.initial import normal_rows
from partialfc.head.optim import sgd
from tests.head import reference
from tests.head.optim.cases import (
    SCALE,
    SGD,
    C,
    D,
    batch,
    build,
    dense_run,
    learning_rate,
    per_row,
    steps,
    train,
)


def torch_sgd(**options: Any) -> Any:
    def begin(weight: Tensor) -> Any:
        optimizer = torch.optim.SGD([weight], **options)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, learning_rate)

        def move(participating: Tensor) -> None:
            optimizer.step()
            scheduler.step()

        return move

    return begin


CASES = {
    "all rows": (1.0, SGD),
    "sampled": (0.1, SGD),
    "no momentum": (0.1, SGD | {"momentum": 0.0}),
    "no decay": (0.1, SGD | {"weight_decay": 0.0}),
}
SPREAD = [(2, "all rows"), (2, "no momentum"), (3, "sampled")]


@pytest.mark.parametrize(("world_size", "case"), [*((1, case) for case in CASES), *SPREAD])
def test_dense_sgd_follows_torch_for_300_steps(run_ranks, world_size, case):
    sample_rate, options = CASES[case]
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
