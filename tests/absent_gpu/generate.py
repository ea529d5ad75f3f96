"""Inductor's code of a recorded call, for the GPU that tests/absent_gpu/device.py speaks of."""

import importlib
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch._subclasses import FakeTensor, FakeTensorMode
from torch.utils._pytree import tree_leaves

from tests.absent_gpu.calls import Call, Place, mapped


@dataclass(frozen=True, slots=True)
class Code:
    """A module of Inductor's whose `call` takes these: the call's tensors by their places, and numbers."""

    source: str
    arguments: tuple[Any, ...]


class _Captured(Exception):
    pass


def generate(call: Call) -> Code:
    """Raises RuntimeError where the compiler makes no graph, or several, of the kernel."""
    from torch._dynamo.exc import TorchRuntimeError, Unsupported

    try:
        return _generate(call, "cuda")
    except (TorchRuntimeError, Unsupported):  # a kernel that differentiates: torch asks a real device for it
        return _generate(call, "cpu")


def _generate(call: Call, traced_on: str) -> Code:
    from torch._inductor.compile_fx import compile_fx
    from torch._inductor.graph import GraphLowering

    sources: list[str] = []
    places: dict[int, Place] = {}
    given: list[Any] = []
    kept: list[Tensor] = []

    def to_module(graph: Any) -> Any:
        sources.append(graph.codegen()[0].value)
        return _Module(given)

    def fake(place: Place) -> Tensor:
        tensor = torch.empty_strided(place.shape, place.stride, dtype=place.dtype, device=traced_on)
        places[id(tensor)] = place
        kept.append(tensor)
        return tensor

    def backend(graph: Any, inputs: Any) -> Any:
        return compile_fx(graph, inputs, inner_compile=_compile_for_cuda, config_patches=call.options)

    torch._dynamo.reset()
    with (
        torch._inductor.config.patch(force_disable_caches=True, joint_graph_constant_folding=False),
        FakeTensorMode(allow_non_fake_inputs=True),
        torch.no_grad(),
        mock.patch.object(GraphLowering, "compile_to_module", to_module),
    ):
        arguments = mapped(call.arguments, fake, Place)
        with suppress(_Captured):
            torch.compile(function_of(call), dynamic=True, fullgraph=True, backend=backend)(*arguments)
        if len(sources) != 1:
            raise RuntimeError(f"{call.kernel}: {len(sources)} graphs")
        return Code(sources[0], tuple(_named(each, places) for each in given))


def _compile_for_cuda(graph: Any, inputs: Any, **options: Any) -> Any:
    """As Inductor does, with what was traced on the CPU on the GPU; numbers stay the host's."""
    from torch._inductor.compile_fx import compile_fx_inner

    for value in tree_leaves((inputs, [node.meta.get("val") for node in graph.graph.nodes])):
        if isinstance(value, FakeTensor) and value.dim():
            value.fake_device = torch.device("cuda", 0)
    for node in graph.graph.nodes:
        if node.kwargs.get("device") == torch.device("cpu"):
            node.kwargs = node.kwargs | {"device": torch.device("cuda", 0)}
    return compile_fx_inner(graph, inputs, **options)


def _named(argument: Any, places: dict[int, Place]) -> Any:
    """An argument of the code as its place, or as the number that it is."""
    if not isinstance(argument, FakeTensor):
        return argument
    if id(argument) in places:
        return places[id(argument)]
    return argument.constant.item()  # type: ignore[union-attr]


class _Module:
    """In place of the module that would be compiled."""

    def __init__(self, given: list[Any]) -> None:
        self._given = given
        self.__file__ = ""

    def call(self, arguments: list[Any]) -> None:
        self._given.extend(arguments)
        raise _Captured


def function_of(call: Call) -> Any:
    """The Python function of the kernel."""
    module, _, name = call.kernel.partition(":")
    kernel = getattr(importlib.import_module(module), name)
    return getattr(kernel, "_kernel", kernel).__wrapped__
