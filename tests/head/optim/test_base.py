"""What both row optimizers share: state, when gradients are applied, what is refused."""

import copy
import pickle
from typing import Any

import pytest
import torch

import partialfc
from tests.head.optim.cases import SGD, D, batch, build, steps

KINDS = [("RowSGD", SGD), ("RowSGD", SGD | {"unsampled": "frozen"}), ("RowAdamW", {"lr": 0.01})]


@pytest.mark.parametrize(("make", "options"), KINDS)
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


def centres_after(
    make: str, options: dict[str, Any], sample_rate: float, dtype: torch.dtype, *, saves: bool
) -> torch.Tensor:
    """Of a run whose state is taken after half of its steps, or is not."""
    head = build(sample_rate, dtype)
    optimizer = getattr(partialfc, make)(head, **options)
    for first in (0, 20):
        for step in range(first, first + 20):
            embeddings, labels = batch(step)
            head(embeddings.to(dtype), labels).backward()
            optimizer.step()
        if saves:
            head.state_dict()
            optimizer.state_dict()
    optimizer.flush()
    return head.weight.detach()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("sample_rate", [0.1, 1.0])
@pytest.mark.parametrize(("make", "options"), KINDS)
def test_taking_a_state_changes_nothing_but_when_rows_that_owe_are_rounded(make, options, sample_rate, dtype):
    """As docs/explanation/exactness.md says."""
    without, with_one = (
        centres_after(make, options, sample_rate, dtype, saves=saves) for saves in (False, True)
    )
    owing = make == "RowSGD" and "unsampled" not in options and sample_rate < 1
    assert torch.equal(without, with_one) is not owing
    close = 1e-5 if dtype == torch.float32 else 1e-13
    torch.testing.assert_close(with_one, without, atol=close, rtol=close)


NARROW = [
    ("RowSGD", {"lr": 2e-5}, torch.bfloat16),
    ("RowSGD", {"lr": 2e-5, "unsampled": "frozen"}, torch.bfloat16),
    ("RowSGD", {"lr": 0.1, "momentum": 0.95, "momentum_dtype": torch.int8}, torch.float32),
    ("RowSGD", {"lr": 0.1, "momentum": 0.95, "momentum_dtype": torch.bfloat16}, torch.float32),
    ("RowAdamW", {"lr": 1e-5}, torch.bfloat16),
]


def narrow_head(weight_dtype: torch.dtype) -> partialfc.PartialFC:
    margin = partialfc.CosFace(scale=16.0)
    return partialfc.PartialFC(D, 60, margin=margin, weight_dtype=weight_dtype, compile=False)


def after(make: str, options: dict[str, Any], weight_dtype: torch.dtype, *, train: bool) -> torch.Tensor:
    """The centres after 120 steps on all classes, from ones that bfloat16 holds."""
    head = narrow_head(weight_dtype).train(train)
    with torch.no_grad():
        head.weight.copy_(narrow_head(torch.bfloat16).weight)
    optimizer = getattr(partialfc, make)(head, **options)
    embeddings, labels = batch(0)
    for _ in range(120):
        head(embeddings, labels).backward()
        optimizer.step()
    return head.state_dict()["weight"].double()


@pytest.mark.parametrize(("make", "options", "weight_dtype"), NARROW)
def test_a_head_in_eval_mode_is_rounded_by_other_noise_in_each_step(make, options, weight_dtype):
    """With the same noise in each step, errors add up instead of cancelling; in train mode they cancel."""
    true = after(make, {**options, **wide(options)}, torch.float32, train=True)
    error = {mode: (after(make, options, weight_dtype, train=mode) - true).norm() for mode in (True, False)}
    assert 0 < error[False] < 1.5 * error[True]


def wide(options: dict[str, Any]) -> dict[str, Any]:
    return {"momentum_dtype": None} if "momentum_dtype" in options else {}


@pytest.mark.parametrize(("make", "options", "weight_dtype"), NARROW)
@pytest.mark.parametrize("train", [False, True])
def test_the_noise_goes_on_where_a_saved_state_ended(make, options, weight_dtype, train):
    def new() -> tuple[partialfc.PartialFC, Any]:
        head = narrow_head(weight_dtype).train(train)
        return head, getattr(partialfc, make)(head, **options)

    (head, optimizer), (other, resumed) = new(), new()
    steps(head, optimizer, 0, 5)
    saved = copy.deepcopy([head.state_dict(), optimizer.state_dict()])
    steps(head, optimizer, 5, 10)
    other.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    steps(other, resumed, 5, 10)
    assert torch.equal(head.state_dict()["weight"], other.state_dict()["weight"])
    for name, state in optimizer.row_state.items():
        assert torch.equal(state, resumed.row_state[name])
    del saved[1]["shared"]["steps"]  # as version 0.1
    resumed.load_state_dict(saved[1])
    saved[1]["shared"]["steps"] = -1
    with pytest.raises(ValueError, match="steps is -1; it must be a whole number"):
        resumed.load_state_dict(saved[1])


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize(("make", "options"), KINDS)
def test_an_assigned_weight_is_moved_as_a_copied_one(make, options, joint):
    """load_state_dict(assign=True) gives the head another Parameter; the optimizer's state may follow."""
    head = build(0.1)
    optimizer = getattr(partialfc, make)(head, **options)
    steps(head, optimizer, 0, 20)
    saved = copy.deepcopy([head.state_dict(), optimizer.state_dict()])
    for load_optimizer in (False, True):
        rows = []
        for assign in (False, True):
            other = build(0.1)
            resumed = getattr(partialfc, make)(other, **options)
            outer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
            stepping = partialfc.JointOptimizer(outer, resumed) if joint else resumed
            steps(other, stepping, 0, 3)
            before = other.weight
            (torch.nn.Sequential(other) if joint else other).load_state_dict(
                {("0." if joint else "") + k: copy.deepcopy(v) for k, v in saved[0].items()}, assign=assign
            )
            assert (other.weight is not before) == assign
            if load_optimizer:
                resumed.load_state_dict(copy.deepcopy(saved[1]))
            steps(other, stepping, 20, 30)
            stepping.zero_grad()
            assert [*resumed.state] == [other.weight]
            rows.append(other.state_dict()["weight"].clone())
            resumed.state_dict()
        torch.testing.assert_close(*rows, atol=0, rtol=0)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (torch.float32, r"assign=True would make weight .* built with torch\.float64 on cpu"),
        (torch.device("meta"), "this state's weight is on the device meta, so it has no values to load"),
    ],
    ids=["float32", "meta"],
)
def test_an_assigned_weight_of_another_dtype_or_device_is_refused(kind, words):
    head = build(1.0)
    state = dict(head.state_dict())  # torch notes assign in the one with metadata
    state["weight"] = state["weight"].to(kind)
    with pytest.raises(ValueError, match=words):
        head.load_state_dict(state, assign=True)
    assert head.weight.dtype == torch.float64
    if kind == torch.float32:
        head.load_state_dict(state)


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
