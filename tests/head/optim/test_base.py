"""What both row optimizers share: state, when gradients are applied, what is refused."""

import copy
import pickle
from typing import Any

import pytest
import torch

import partialfc
from tests.head.optim.cases import SGD, batch, build, steps


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


@pytest.mark.parametrize("make", ["RowSGD", "RowAdamW"])
@pytest.mark.parametrize("take", [copy.copy, copy.deepcopy, pickle.dumps])
def test_row_optimizers_refuse_to_be_copied_and_name_the_way(make, take):
    optimizer = getattr(partialfc, make)(build(0.1), lr=0.1)
    message = rf"a {make} .* keep head\.state_dict\(\) and optimizer\.state_dict\(\)"
    with pytest.raises(TypeError, match=message):
        take(optimizer)


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
    def optimizer(size: int, dtype: torch.dtype) -> partialfc.RowSGD:
        head = partialfc.PartialFC(size, 10, margin=partialfc.ArcFace())
        return partialfc.RowSGD(head, lr=0.1, momentum=0.9, momentum_dtype=dtype)

    saved = optimizer(8, torch.float32).state_dict()
    with pytest.raises(ValueError, match=r"momentum is \[10, 8\] torch.float32, .* RowSGD's is \[10, 12\]"):
        optimizer(12, torch.float32).load_state_dict(saved)
    with pytest.raises(ValueError, match=r"momentum is \[10, 8\] torch.float32, .* \[10, 8\] torch.bfloat16"):
        optimizer(8, torch.bfloat16).load_state_dict(saved)
