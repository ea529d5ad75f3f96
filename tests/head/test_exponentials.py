"""From cosines to exponentials: compiled as uncompiled, and an example by hand."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import partialfc
from partialfc.head import exponentials

K, N, S = 6, 5, 3


def cosines(per_class: int) -> Tensor:
    generator = torch.Generator().manual_seed(per_class)
    return torch.rand(K * per_class, N, generator=generator, dtype=torch.float64) * 2 - 1


def given() -> tuple[Tensor, Tensor]:
    """Sample n has class n among these, but for the last one, whose is on another rank."""
    target_column = torch.arange(N, dtype=torch.int32)
    target_column[-1] = -1
    return target_column, torch.arange(K, dtype=torch.int32)


@pytest.mark.parametrize("per_class", [1, S])
def test_plain_exponentials_are_these(per_class):
    values, offsets = cosines(per_class), torch.linspace(-1, 1, K, dtype=torch.float64)
    before, scale = values.clone(), torch.linspace(1, 3, N, dtype=torch.float64)
    exponentials.exponentials(
        *(values, *given(), scale, 2.0, offsets, 0.8, per_class, torch.float64), compiled=False
    )
    for k in range(K):
        for n in range(N):
            own = [before[k * per_class + s, n].item() for s in range(per_class)]
            found = [values[k * per_class + s, n].item() for s in range(per_class)]
            cos = max(own)
            left_out = cos > 0.8 or (k == n and n < N - 1)
            value = 0.0 if left_out else math.exp(cos * scale[n].item() + offsets[k].item() - 2.0)
            assert found == pytest.approx([value if each == cos else 0.0 for each in own])


def test_the_shift_rises_where_a_logit_is_far_above_it_and_nowhere_else():
    values = torch.tensor([[0.5, 0.9], [0.1, -0.2]], dtype=torch.float64)
    logits, before = values * 100.0, torch.zeros(2, dtype=torch.float64)
    nobody = torch.full((2,), -1, dtype=torch.int32)
    columns, scale = torch.arange(2, dtype=torch.int32), torch.full((2,), 100.0, dtype=torch.float64)
    shift = exponentials.rising(
        *(values, nobody, columns, scale, before, None, None, 1, 60.0, torch.float64), compiled=False
    )
    assert shift.tolist() == [0.0, 60.0]
    torch.testing.assert_close(values, (logits - shift).exp())


MARGINS = {
    "CurricularFace": lambda: partialfc.CurricularFace(scale=8.0),
    "MVSoftmax": lambda: partialfc.MVSoftmax(partialfc.CosFace(scale=8.0, margin=0.3), adaptive=True),
}


def calls(per_class: int) -> dict[str, tuple[Any, tuple[Any, ...]]]:
    """Each kernel in each of its forms, with arguments; values come first."""
    numbers = torch.linspace(0.5, 2.0, N, dtype=torch.float64)
    offsets = torch.linspace(-1, 1, K, dtype=torch.float64)
    rest = (per_class, torch.float64)
    found: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "plain": (exponentials.exponentials, (*given(), 8.0, 2.0, None, None, *rest)),
        "all": (exponentials.exponentials, (*given(), numbers, numbers, offsets, 0.8, *rest)),
        "rising": (
            exponentials.rising,
            (*given(), 200.0 * numbers, numbers, offsets, 0.8, per_class, 60.0, torch.float64),
        ),
    }
    for name, make in MARGINS.items():
        margin = make()
        samples = partialfc.Samples(numbers - 1.2, numbers)
        seen = (samples.cos, samples.norm, None, margin.prepare(samples), 7)
        found[name] = (exponentials.reweighted, (*given(), margin, *seen, 9.0, offsets, 0.9, *rest))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "per_class"), [("all", 1), ("all", S), ("rising", 1), ("CurricularFace", S), ("MVSoftmax", 1)]
)
def test_compiled_they_are_as_uncompiled(name, per_class):
    kernel, arguments = calls(per_class)[name]
    plain, fast = cosines(per_class), cosines(per_class)
    expected, found = kernel(plain, *arguments, compiled=False), kernel(fast, *arguments, compiled=True)
    torch.testing.assert_close(fast, plain)
    torch.testing.assert_close(found, expected)


def head_of(margin: partialfc.Margin) -> tuple[partialfc.PartialFC, partialfc.RowSGD]:
    head = partialfc.PartialFC(16, 2000, margin=margin, sample_rate=0.5, compile=True)
    return head, partialfc.RowSGD(head, lr=0.1)


@pytest.mark.slow
def test_a_state_that_moves_or_a_margin_that_ramps_needs_no_new_code():
    from torch._dynamo.utils import counters

    head, optimizer = head_of(partialfc.CurricularFace())

    def step() -> int:
        """The graphs that were compiled so far, after a step."""
        head(torch.randn(8, 16), torch.arange(8)).backward()
        optimizer.step()
        return int(counters["stats"]["unique_graphs"])

    step()
    settled = step()
    assert step() == settled
    for k in range(3):
        head.reconfigure(margin=partialfc.CurricularFace(margin=0.1 * k))
        assert step() == settled
