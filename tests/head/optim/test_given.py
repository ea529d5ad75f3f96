"""`found_inf` and `grad_scale` as a loop of your own gives them: one number, or nothing moves."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import partialfc
from tests.head.optim.cases import D, batch, build
from tests.pretend.machine import machine

KINDS = ("RowSGD", "RowAdamW", "joint", "nested")
NUMBERS = {
    "shape 1": lambda x: torch.tensor([x]),
    "shape 1x1": lambda x: torch.tensor([[x]]),
    "float64": lambda x: torch.tensor(x, dtype=torch.float64),
    "float16": lambda x: torch.tensor([x], dtype=torch.float16),
    "bfloat16": lambda x: torch.tensor(x, dtype=torch.bfloat16),
    "float8": lambda x: torch.tensor([x]).to(torch.float8_e4m3fn),
    "int64": lambda x: torch.tensor([int(x)]),
    "uint16": lambda x: torch.tensor(int(x), dtype=torch.uint16),
    "parameter": lambda x: nn.Parameter(torch.tensor([x])),
}
NO_NUMBERS = {
    "float": (0.0, "a float"),
    "bool": (False, "a bool"),
    "string": ("no", "a str"),
    "two": (torch.zeros(2), r"a tensor \[2\] of torch\.float32 on cpu"),
    "none": (torch.zeros(0), r"a tensor \[0\] of torch\.float32"),
    "complex": (torch.zeros((), dtype=torch.complex64), r"a tensor \[\] of torch\.complex64"),
    "meta": (torch.ones((), device="meta"), r"a tensor \[\] of torch\.float32 on meta"),
}


class Run:
    """A backbone and a head, that one optimizer or several as one move."""

    def __init__(self, kind: str, device: str = "cpu") -> None:
        self.device = device
        self.head = build(1.0).to(device)
        rows = getattr(partialfc, kind if kind.startswith("Row") else "RowSGD")
        self.inner = self.optimizer = rows(self.head, lr=0.1)
        self.backbone = nn.Parameter(torch.ones(D, D, dtype=torch.float64, device=device))
        if not kind.startswith("Row"):
            backbone = torch.optim.SGD([self.backbone], lr=0.1, fused=True)
            self.optimizer = partialfc.JointOptimizer(backbone, self.optimizer)
        if kind == "nested":
            other = torch.optim.SGD([nn.Parameter(torch.ones(1, device=device))], lr=0.1, fused=True)
            self.optimizer = partialfc.JointOptimizer(other, self.optimizer)

    def step(self, of: str = "optimizer", *, scale: float = 1.0, **given: Any) -> list[Tensor]:
        """One with these attributes of it -> backbone and centres."""
        embeddings, labels = batch(0)
        self.backbone.grad = torch.full_like(self.backbone, scale)
        (self.head(embeddings.to(self.device).requires_grad_(), labels) * scale).backward()
        for name, value in given.items():
            setattr(getattr(self, of), name, value.to(self.device) if self.device != "cpu" else value)
        with machine.log.phase("step"):
            self.optimizer.step()
        for name in given:
            if hasattr(getattr(self, of), name):
                delattr(getattr(self, of), name)
        return self.values()

    def values(self) -> list[Tensor]:
        return [self.backbone.detach().cpu().clone(), self.head.state_dict()["weight"].cpu().clone()]


def assert_same(first: list[Tensor], second: list[Tensor]) -> None:
    torch.testing.assert_close(first, second, atol=1e-12, rtol=0)


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_tensor_of_one_number_of_any_dtype_is_taken(kind, dtype):
    number = NUMBERS[dtype]
    usual, run = Run(kind), Run(kind)
    before = run.values()
    assert_same(run.step(found_inf=number(1.0)), before)
    expected = usual.step()
    assert_same(run.step(found_inf=number(0.0), grad_scale=number(4.0), scale=4.0), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bool_says_whether_one_was_found(kind):
    run, usual = Run(kind), Run(kind)
    before = run.values()
    assert_same(run.step(found_inf=torch.tensor([True])), before)
    assert_same(run.step(found_inf=torch.tensor(False)), usual.step())


@pytest.mark.parametrize("found", [float("nan"), float("inf"), 2.0, -1.0])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_0_counts_as_found_for_all(kind, found):
    run = Run(kind)
    before = run.values()
    assert_same(run.step(found_inf=torch.tensor([found])), before)


def there(kind: str, given: dict[str, Tensor]) -> tuple[list[Tensor], list[str]]:
    values = Run(kind, "pretend").step(**given)
    return values, [str(fault) for fault in machine.log.faults if fault.phase]


@pytest.mark.parametrize("found", [0.0, float("nan"), 2.0])
@pytest.mark.parametrize("kind", KINDS)
def test_an_accelerator_decides_by_itself(on_pretend, kind, found):
    given = {"found_inf": torch.tensor([found]), "grad_scale": torch.tensor([4], dtype=torch.int32)}
    values, faults = on_pretend(there, kind, given)
    assert faults == []
    torch.testing.assert_close(values, Run(kind).step(**given), atol=1e-10, rtol=0)


@pytest.mark.parametrize("of", ["optimizer", "inner"])
@pytest.mark.parametrize("name", ["found_inf", "grad_scale"])
@pytest.mark.parametrize("case", NO_NUMBERS)
@pytest.mark.parametrize("kind", KINDS)
def test_anything_else_is_refused_before_anything_moves(kind, case, name, of):
    value, shown = NO_NUMBERS[case]
    run, usual = Run(kind), Run(kind)
    before = run.values()
    with pytest.raises(ValueError, match=rf"{name} is {shown}.*; it must be a tensor of one real number"):
        run.step(of, **{name: value})
    assert_same(run.values(), before)
    delattr(getattr(run, of), name)
    run.optimizer.zero_grad()
    assert_same(run.step(), usual.step())


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("kind", KINDS)
def test_on_a_cpu_a_scale_must_be_finite_and_above_0(kind, scale):
    run = Run(kind)
    before = run.values()
    with pytest.raises(ValueError, match=rf"grad_scale is {scale}; it must be finite and above 0"):
        run.step(grad_scale=torch.tensor(scale))
    assert_same(run.values(), before)


def refused_there(kind: str) -> tuple[str, list[Tensor], list[Tensor]]:
    run = Run(kind, "pretend")
    before = copy.deepcopy(run.values())
    embeddings, labels = batch(0)
    run.backbone.grad = torch.ones_like(run.backbone)
    run.head(embeddings.to("pretend").requires_grad_(), labels).backward()
    run.optimizer.found_inf = torch.tensor(0.0)
    with pytest.raises(ValueError, match="found_inf") as error:
        run.optimizer.step()
    return str(error.value), before, run.values()


@pytest.mark.parametrize("kind", KINDS)
def test_a_number_on_the_host_is_refused_by_an_accelerator(on_pretend, kind):
    message, before, after = on_pretend(refused_there, kind)
    assert "on cpu; it must be a tensor of one real number on pretend" in message
    assert_same(before, after)


def test_a_scale_that_one_of_them_does_not_divide_by_is_refused_before_any_moves():
    first = nn.Parameter(torch.ones(2))
    fused = torch.optim.SGD([first], lr=0.1, fused=True)
    plain = torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1)
    joint = partialfc.JointOptimizer(fused, plain)
    first.grad = torch.ones(2)
    joint.grad_scale = torch.tensor(2.0)
    with pytest.raises(ValueError, match="grad_scale is set, and a SGD does not divide by it"):
        joint.step()
    assert torch.equal(first.detach(), torch.ones(2))
