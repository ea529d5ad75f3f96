"""The wrapper tensor: it says `pretend:0`, and another tensor behind it holds the values."""

from typing import Any

import torch
from torch import Tensor

from tests.pretend.machine import machine
from tests.pretend.memory import Memory
from tests.pretend.tree import tree_map


class PretendTensor(Tensor):
    """behind: the tensor with the values, on the CPU, or without values on `meta`; memory: where it lies.

    Of a sparse tensor, that is where its `_values` lie.
    """

    behind: Tensor
    memory: Memory

    @staticmethod
    def __new__(cls, behind: Tensor, memory: Memory) -> "PretendTensor":
        layout = {"layout": behind.layout}
        if behind.layout == torch.strided:
            layout = {"strides": behind.stride(), "storage_offset": behind.storage_offset()}
        return torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, behind.size(), dtype=behind.dtype, device=machine.device, **layout
        )

    def __init__(self, behind: Tensor, memory: Memory) -> None:
        self.behind, self.memory = behind, memory

    def __repr__(self) -> str:  # type: ignore[override]
        return f"PretendTensor({list(self.shape)}, {self.dtype})"

    @property
    def data(self) -> Tensor:
        return Tensor.data.__get__(self)  # type: ignore[attr-defined, no-any-return]

    @data.setter
    def data(self, other: Tensor) -> None:
        """As `nn.Module.to` assigns it."""
        Tensor.data.__set__(self, other)  # type: ignore[attr-defined]
        if isinstance(other, PretendTensor):
            self.behind, self.memory = other.behind, other.memory

    def record_stream(self, stream: Any) -> None:
        self.memory.recorded.add(stream.stream_id)

    def tolist(self) -> Any:
        """As on CUDA, through a copy to the host; torch refuses it for subclasses."""
        return self.cpu().tolist()

    def __deepcopy__(self, memo: dict[int, Any]) -> "PretendTensor":
        if id(self) not in memo:
            copied = self.detach().clone().requires_grad_(self.requires_grad)
            if isinstance(self, torch.nn.Parameter):
                copied._is_param = True
            memo[id(self)] = copied
        return memo[id(self)]  # type: ignore[no-any-return]

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        from tests.pretend.dispatch import run  # which makes such tensors

        return run(func, args, kwargs or {})

    # Tensors of a subclass lose nothing of it: no operation needs more than the dispatch above.
    __torch_function__ = torch._C._disabled_torch_function_impl


def fresh(behind: Tensor) -> PretendTensor:
    """A tensor in memory of its own."""
    return PretendTensor(behind, machine.allocate(values_of(behind).untyped_storage().nbytes()))


def values_of(behind: Tensor) -> Tensor:
    """The tensor that lies in memory: the values of a sparse one."""
    return behind._values() if behind.is_sparse else behind


def behind(tree: Any) -> Any:
    """Anything, with the tensors behind in place of those on the device."""
    return tree_map(lambda leaf: leaf.behind if isinstance(leaf, PretendTensor) else leaf, tree)


def wrapped(results: Any, given: list[PretendTensor]) -> Any:
    """What an operation on the tensors behind gave -> the same on the device.

    A tensor that was given comes back as it is, a view of one shares its memory.
    """
    same = {id(each.behind): each for each in given}
    shared = {values_of(each.behind).untyped_storage()._cdata: each.memory for each in given}

    def wrap(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        if id(leaf) in same:
            return same[id(leaf)]
        memory = shared.get(values_of(leaf).untyped_storage()._cdata)
        return fresh(leaf) if memory is None else PretendTensor(leaf, memory)

    return tree_map(wrap, results)
