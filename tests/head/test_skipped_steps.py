"""Steps that `found_inf` skips leave no trace: the run is, bit for bit, one in which they were not taken."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

import partialfc
from partialfc.head.optim import sgd
from tests.head.test_accelerator import BFLOAT16, OPTIMIZERS, batch, build
from tests.pretend.machine import machine

STEPS = 8
SKIPPED = {0, 2, 3, 5, 7}  # the first, two in a row, one before the flush, the last
FLUSHED_AFTER = 5
FLOAT64: dict[str, Any] = {"weight_dtype": torch.float64, "compute_dtype": torch.float64}
FLOAT32: dict[str, Any] = {"weight_dtype": torch.float32, "compute_dtype": torch.float32}
NARROW = FLOAT32 | {"weight_dtype": BFLOAT16}
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "sgd": ("RowSGD", FLOAT64, {}),
    "sgd float32": ("RowSGD", FLOAT32, {}),
    "sgd without momentum": ("RowSGD", FLOAT64, {"momentum": 0.0}),
    "sgd frozen": ("RowSGD", FLOAT64, {"unsampled": "frozen"}),
    "sgd bfloat16 momentum": ("RowSGD", FLOAT32, {"momentum_dtype": BFLOAT16}),
    "sgd int8 momentum": ("RowSGD", FLOAT32, {"momentum_dtype": torch.int8}),
    "sgd bfloat16": ("RowSGD", NARROW, {"momentum_dtype": torch.int8}),
    "sgd bfloat16 frozen": ("RowSGD", NARROW, {"unsampled": "frozen"}),
    "adamw": ("RowAdamW", FLOAT64, {}),
    "adamw bfloat16": ("RowAdamW", NARROW, {}),
}


def train(
    device: str,
    case: str,
    *,
    takes: bool,
    accumulation: int = 1,
    momentum_from: int = 0,
    pays_in_steps: bool = False,
    **options: Any,
) -> dict[str, Tensor]:
    """The losses, and what lies in memory once all is paid.

    takes: whether the skipped steps are taken, with a found_inf; if not, their gradients are dropped.
    momentum_from: the first step with momentum; pays_in_steps: whether steps pay what rows owe.
    """
    kind, of_head, of_optimizer = CASES[case]
    head = build(device, "arcface", of_head | options)
    optimizer = getattr(partialfc, kind)(head, **OPTIMIZERS[kind] | of_optimizer)
    (group,), momentum = optimizer.param_groups, optimizer.defaults.get("momentum")
    found = {bad: torch.tensor(float(bad)).to(device) for bad in (False, True)}
    losses = []
    for number in range(STEPS):
        if momentum is not None:
            group["momentum"] = momentum if number >= momentum_from else 0.0
        parts = [batch(number * accumulation + micro) for micro in range(accumulation)]
        inputs = [(embeddings.to(device).requires_grad_(), labels) for embeddings, labels in parts]
        with machine.log.phase(f"forward {number}"):
            for each in inputs:
                loss = head(*each)
                (loss / accumulation).backward()
                losses.append(loss.detach())
        before = in_memory(head, optimizer)
        skipped = number in SKIPPED
        with machine.log.phase(f"step {number}"):
            if takes:
                optimizer.found_inf = found[skipped]
                optimizer.step()
                del optimizer.found_inf
            elif skipped:
                drop(optimizer)
            else:
                optimizer.step()
        if skipped and takes and not pays_in_steps:
            assert_same(before, {name: in_memory(head, optimizer)[name] for name in before})
        assert not head.has_row_gradients()
        if number in (FLUSHED_AFTER, STEPS - 1):
            optimizer.flush()
    return {"losses": torch.stack(losses).cpu()} | in_memory(head, optimizer)


def drop(optimizer: torch.optim.Optimizer) -> None:
    """Take no step; the noise of the steps to come is that of so many asked for."""
    optimizer.zero_grad()
    shared = optimizer.shared_state
    optimizer.load_shared_state(shared | {"steps": shared["steps"] + 1})


def in_memory(head: partialfc.PartialFC, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    tensors = {"weight": head.weight.detach()} | optimizer.row_state
    return {name: tensor.cpu().clone() for name, tensor in tensors.items()}


def assert_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert {*first} == {*second}
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def train_in_little_room(device: str, most_pending: int, *, takes: bool) -> dict[str, Tensor]:
    usual, sgd.MOST_PENDING_STEPS = sgd.MOST_PENDING_STEPS, most_pending
    try:
        return train(device, "sgd", takes=takes, pays_in_steps=True, sample_rate=0.3)
    finally:
        sgd.MOST_PENDING_STEPS = usual


def in_little_room_there(most_pending: int, takes: bool) -> dict[str, Tensor]:
    result = train_in_little_room("pretend", most_pending, takes=takes)
    assert not [fault for fault in machine.log.faults if fault.phase]
    return result


def on_device(case: str, options: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Tensor], list[str]]:
    taken = train("pretend", case, takes=True, **options)
    faults = [str(fault) for fault in machine.log.faults if fault.phase]
    return taken, train("pretend", case, takes=False, **options), faults


def check(on_pretend: Any, case: str, **options: Any) -> None:
    """On a CPU and on the accelerator, which does not wait in any of the steps."""
    assert_same(*(train("cpu", case, takes=takes, **options) for takes in (True, False)))
    taken, not_taken, faults = on_pretend(on_device, case, options)
    assert_same(taken, not_taken)
    assert faults == []


# Each case with either rate and either accumulation, one of them with all.
SETTINGS = [(case, *setting) for case in CASES for setting in ((1.0, 1), (0.3, 3))]
SETTINGS += [("sgd", 1.0, 3), ("sgd", 0.3, 1)]


@pytest.mark.parametrize(("case", "sample_rate", "accumulation"), SETTINGS)
def test_the_run_is_one_in_which_they_were_not_taken(on_pretend, case, sample_rate, accumulation):
    check(on_pretend, case, sample_rate=sample_rate, accumulation=accumulation)


@pytest.mark.parametrize("case", ["sgd", "sgd int8 momentum", "sgd frozen", "adamw bfloat16"])
def test_by_a_compiled_head(on_pretend, case):
    taken, not_taken, faults = on_pretend(on_device, case, {"sample_rate": 0.3, "compile": True})
    assert_same(taken, not_taken)
    assert [fault for fault in faults if "step 0" not in fault] == []  # a trial, which may wait


@pytest.mark.parametrize("momentum_from", [2, 3, 4])
@pytest.mark.parametrize("case", ["sgd", "sgd int8 momentum"])
def test_momentum_that_appears_in_one_is_zero(on_pretend, case, momentum_from):
    """Or before one, or after one."""
    check(on_pretend, case, sample_rate=0.3, momentum_from=momentum_from)


@pytest.mark.parametrize("most_pending", [1, 2, 3])
def test_a_full_table_is_paid_off_around_one(on_pretend, most_pending):
    assert_same(*(train_in_little_room("cpu", most_pending, takes=takes) for takes in (True, False)))
    assert_same(*(on_pretend(in_little_room_there, most_pending, takes) for takes in (True, False)))


def resumed(device: str, case: str, middle: int | None) -> dict[str, Tensor]:
    """Steps of which the odd ones are skipped; after `middle` of them, the states go to new objects."""
    kind, of_head, of_optimizer = CASES[case]

    def new() -> tuple[partialfc.PartialFC, Any]:
        head = build(device, "arcface", of_head | {"sample_rate": 0.3})
        return head, getattr(partialfc, kind)(head, **OPTIMIZERS[kind] | of_optimizer)

    head, optimizer = new()
    for number in range(STEPS):
        saved = copy.deepcopy([head.state_dict(), optimizer.state_dict()]) if number == 4 else None
        if number == middle:
            head, optimizer = new()
            head.load_state_dict(saved[0])
            optimizer.load_state_dict(saved[1])
        embeddings, labels = batch(number)
        head(embeddings.to(device).requires_grad_(), labels).backward()
        before = {name: tensor.clone() for name, tensor in head.state_dict().items() if name == "weight"}
        optimizer.found_inf = torch.tensor(float(number % 2)).to(device)
        optimizer.step()
        if number % 2:
            assert_same(before, {"weight": head.state_dict()["weight"]})
    optimizer.flush()
    return in_memory(head, optimizer)


@pytest.mark.parametrize("case", ["sgd", "sgd bfloat16", "adamw bfloat16"])
def test_a_state_right_after_one_resumes_bit_for_bit(on_pretend, case):
    """With the noise of the run that went on."""
    assert_same(*(resumed("cpu", case, middle) for middle in (None, 4)))
    assert_same(*(on_pretend(resumed, "pretend", case, middle) for middle in (None, 4)))
