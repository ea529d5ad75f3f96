"""Compiled updates that are told on the device whether they apply: rows move, or not one bit of them."""

from typing import Any

import pytest
import torch
from torch import Tensor

from partialfc.head.kernels import elementwise, per_sample, storage
from partialfc.head.kernels.storage import Stored

ROWS, D, CPU = 150, 64, torch.device("cpu")
SGD, ADAMW = torch.tensor([0.5, 0.9, 0.01]), torch.tensor([0.5, 0.9, 0.99, 1e-8, 0.01])


def rows_of(*dtypes: torch.dtype) -> tuple[Stored, ...]:
    """Random positive rows, stored in these dtypes."""
    noise, _ = storage.uniform(storage.seeds(torch.arange(ROWS), D, 0))
    stored = []
    for number, dtype in enumerate(dtypes):
        generator = torch.Generator().manual_seed(number)
        stored.append(storage.zeros(ROWS, D, dtype, CPU))
        storage.write(stored[-1], None, torch.rand(ROWS, D, generator=generator), noise)
    return tuple(stored)


def updated(kind: str, dtypes: list[torch.dtype], index: Tensor | None, applies: bool, compiled: bool) -> Any:
    """The tensors of the rows after one update."""
    rows = rows_of(*dtypes)
    count = ROWS if index is None else len(index)
    gradient = torch.randn(count, D, generator=torch.Generator().manual_seed(9))
    noise = storage.seeds(torch.arange(count), D, 5)
    decides = torch.tensor(applies)
    if kind == "adamw":
        steps = torch.ones(count, dtype=torch.int32)
        elementwise.adamw(
            rows,
            index,
            ADAMW,
            steps,
            gradient,
            torch.float32,
            True,
            noise,
            decides,
            compiled=compiled,
        )
    else:
        owed = torch.tensor([[0.9, -0.1, 0.1, 0.8]]).repeat(count, 1)
        floats = torch.empty(count, D) if torch.int8 in dtypes else None
        options = (owed, gradient, True, torch.float32, True, noise, floats, decides)
        elementwise.sgd(rows, index, SGD, *options, compiled=compiled)
        if floats is not None:
            elementwise.store(rows[1:], index, None, floats, noise, decides, compiled=compiled)
    return [tensor for stored in rows for tensor in stored if tensor is not None]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "dtypes", "indexed"),
    [
        ("sgd", [torch.bfloat16, torch.bfloat16], True),
        ("sgd", [torch.float32, torch.int8], False),
        ("adamw", [torch.bfloat16, torch.float32, torch.float32], True),
    ],
    ids=str,
)
def test_a_compiled_update_applies_or_changes_no_bit(kind, dtypes, indexed):
    index = torch.arange(1, ROWS, 3) if indexed else None
    before = [tensor for stored in rows_of(*dtypes) for tensor in stored if tensor is not None]
    torch.testing.assert_close(updated(kind, dtypes, index, False, True), before, atol=0, rtol=0)
    applied, plain = (updated(kind, dtypes, index, True, compiled) for compiled in (True, False))
    for fast, slow, old in zip(applied, plain, before, strict=True):
        assert not torch.equal(fast, old)
        # A last bit may round a few elements the other way.
        apart = (fast.double() - slow.double()).abs() > 1e-5 * (1 + slow.double().abs())
        assert apart.double().mean() < 0.01


@pytest.mark.parametrize("indexed", [False, True])
def test_steps_of_rows_are_set_or_stay(indexed):
    index = torch.tensor([1, 4]) if indexed else None
    steps = torch.arange(6, dtype=torch.int32)
    per_sample.set_steps(steps, index, 9, torch.tensor(False), compiled=True)
    assert steps.tolist() == [0, 1, 2, 3, 4, 5]
    per_sample.set_steps(steps, index, 9, torch.tensor(True), compiled=True)
    assert steps.tolist() == ([0, 9, 2, 3, 9, 5] if indexed else [9] * 6)
