"""The calls that steps of the head make of its compiled kernels, recorded on the pretend accelerator."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

Sizes = tuple[int, ...]
BFLOAT16 = torch.bfloat16
# What a head and its optimizer are built with: every dtype that rows and their state are stored in, products
# in float32 and bfloat16, with what steps without a gradient do to a row and without.
CASES: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "float32": ({}, "RowSGD", {}),
    "float32, bfloat16 products": ({"compute_dtype": BFLOAT16}, "RowSGD", {}),
    "float32, bfloat16 momentum": ({}, "RowSGD", {"momentum_dtype": BFLOAT16}),
    "float32, int8 momentum": ({}, "RowSGD", {"momentum_dtype": torch.int8}),
    "float32, no momentum": ({}, "RowSGD", {"momentum": 0.0}),
    "bfloat16, int8 momentum": (
        {"weight_dtype": BFLOAT16, "compute_dtype": BFLOAT16},
        "RowSGD",
        {"momentum_dtype": torch.int8},
    ),
    "bfloat16, frozen": ({"weight_dtype": BFLOAT16}, "RowSGD", {"unsampled": "frozen"}),
    "float64": ({"weight_dtype": torch.float64, "compute_dtype": torch.float64}, "RowSGD", {}),
    "adamw": ({}, "RowAdamW", {}),
    "adamw, bfloat16": ({"weight_dtype": BFLOAT16, "compute_dtype": BFLOAT16}, "RowAdamW", {}),
}
OPTIMIZERS = {
    "RowSGD": {"lr": 0.5, "momentum": 0.9, "weight_decay": 5e-3},
    "RowAdamW": {"lr": 0.1, "weight_decay": 5e-3},
}
STEPS = 3


@dataclass(frozen=True, slots=True)
class Place:
    """A tensor of a call: where it lies in which of the call's memories."""

    memory: int
    offset: int
    shape: Sizes
    stride: Sizes
    dtype: torch.dtype


@dataclass(slots=True)
class Call:
    """One call of a kernel, `module:name`, compiled with these options. Its tensors are `Place`s.

    before, after: the memories of the arguments, 1-dimensional uint8; empty where tensors have sizes alone.
    """

    kernel: str
    arguments: tuple[Any, ...]
    sizes: list[int]
    options: dict[str, Any] = field(default_factory=dict)
    before: list[Tensor] = field(default_factory=list)
    after: list[Tensor] = field(default_factory=list)
    returned: list[Tensor] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.kernel.partition(":")[2]


class Problem(NamedTuple):
    """A head to take steps with; hollow: tensors have sizes alone."""

    classes: int
    samples: int
    embedding: int
    sample_rate: float
    hollow: bool


def mapped(value: Any, function: Callable[[Any], Any], kind: type) -> Any:
    """The value with the function applied to what is of that kind, inside tuples too."""
    if isinstance(value, tuple):
        each = [mapped(inner, function, kind) for inner in value]
        return type(value)(*each) if hasattr(value, "_fields") else tuple(each)
    return function(value) if isinstance(value, kind) else value


class Recorder:
    """In place of torch.compile: runs functions as it does, and keeps the largest call of each variant."""

    def __init__(self, compile: Callable[..., Any]) -> None:
        self._compile = compile
        self.found: dict[Hashable, Call] = {}
        self.hollow = False

    def __call__(self, function: Any, **options: Any) -> Any:
        compiled = self._compile(function, **options)

        def call(*arguments: Any) -> Any:
            made, storages = _made(function, arguments)
            made.options = options["options"]
            key = variant(made)
            if key in self.found and sum(self.found[key].sizes) >= sum(made.sizes):
                return compiled(*arguments)
            if not self.hollow:
                made.before = [_content(each) for each in storages]
            result = compiled(*arguments)
            if not self.hollow:
                made.after = [_content(each) for each in storages]
                mapped((result,), lambda tensor: made.returned.append(tensor.behind.clone()), Tensor)
            self.found[key] = made
            return result

        return call


def record(case: str, problem: Problem) -> list[Call]:
    """The calls of some steps, one of each variant.

    In a process that has the pretend accelerator and is for this alone: torch.compile stays replaced, and a
    kernel that was compiled before is not heard of.
    """
    import partialfc
    from tests.pretend.machine import machine

    if not isinstance(torch.compile, Recorder):
        torch.compile = Recorder(torch.compile)
    recorder = torch.compile
    recorder.found, recorder.hollow = {}, problem.hollow
    machine.hollow = problem.hollow
    try:
        _steps(partialfc, case, problem, machine.device)
    finally:
        machine.hollow = False
    return list(recorder.found.values())


def _steps(partialfc: Any, case: str, problem: Problem, device: torch.device) -> None:
    settings, name, moving = CASES[case]
    usual = {"sample_rate": problem.sample_rate, "compute_dtype": torch.float32, "compile": True}
    margin = partialfc.ArcFace(scale=16.0)
    head = partialfc.PartialFC(problem.embedding, problem.classes, margin=margin, **(usual | settings))
    head = head.to(device)
    optimizer = getattr(partialfc, name)(head, **OPTIMIZERS[name] | moving)
    for step in range(STEPS):
        generator = torch.Generator().manual_seed(step)
        labels = torch.randint(problem.classes, (problem.samples,), generator=generator)
        embeddings = torch.randn(problem.samples, problem.embedding, generator=generator)
        x = embeddings.to(device).requires_grad_()
        weights = torch.linspace(0.5, 1.0, problem.samples) if step else None
        head(x, labels, weights).backward()
        optimizer.step()
        optimizer.zero_grad()
    optimizer.flush()


def _made(function: Any, arguments: tuple[Any, ...]) -> tuple[Call, list[Any]]:
    """The call, and the storages that are its memories."""
    from tests.pretend.tensor import PretendTensor

    storages: list[Any] = []

    def place(tensor: Tensor) -> Place:
        behind = tensor.behind if isinstance(tensor, PretendTensor) else tensor
        storage = behind.untyped_storage()
        known = [index for index, each in enumerate(storages) if each._cdata == storage._cdata]
        if not known:
            storages.append(storage)
        memory = known[0] if known else len(storages) - 1
        return Place(memory, behind.storage_offset(), tuple(behind.shape), behind.stride(), behind.dtype)

    placed = mapped(arguments, place, Tensor)
    sizes = [storage.nbytes() for storage in storages]
    return Call(f"{function.__module__}:{function.__name__}", placed, sizes), storages


def variant(call: Call) -> Hashable:
    """Equal for calls that have the same code: those that differ in numbers and sizes above 1 alone."""
    sizes: list[int] = []
    kinds: list[Hashable] = []

    def note(place: Place) -> None:
        sizes.extend(place.shape)
        kinds.append((place.dtype, place.memory))

    mapped(call.arguments, note, Place)
    others = mapped(mapped(call.arguments, lambda place: None, Place), lambda number: min(number, 2), int)
    few = tuple(each if each < 2 else sizes.index(each) for each in sizes)
    return call.kernel, str(others), tuple(kinds), few


def _content(storage: Any) -> Tensor:
    return torch.empty(0, dtype=torch.uint8).set_(storage, 0, (storage.nbytes(),), (1,)).clone()
