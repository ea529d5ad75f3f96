"""In place of torch.compile: the function runs as it is, and counts as one launch.

It touches what it reads and writes of memory from outside, each range once; what it makes for itself stays
in registers. That a compiler does as well is an assumption: the head's kernels are loops over the rows of a
chunk, with sums along a row alone.
"""

import functools
from collections.abc import Callable
from typing import Any

from torch import Tensor

from tests.pretend.cost import Access, whole
from tests.pretend.memory import Memory
from tests.pretend.tree import tree_leaves


class Scope:
    """What the function that is running has touched, in whatever thread; nothing, where none is."""

    def __init__(self) -> None:
        self.outside: set[Memory] | None = None
        self.accesses: dict[Access, None] = {}
        self.flops = 0

    def add(self, accesses: list[Access], flops: int) -> bool:
        """Whether a function counts this as its own."""
        if self.outside is None:
            return False
        for access in accesses:
            if access.memory in self.outside:
                self.accesses[access] = None
        self.flops += flops
        return True


scope = Scope()


def compile(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """As torch.compile, for a function whose tensors are arguments and results."""

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        from tests.pretend.dispatch import enter  # which looks into the scope
        from tests.pretend.tensor import PretendTensor

        tensors = [leaf for leaf in tree_leaves(args) if isinstance(leaf, Tensor)]
        given = [each for each in tensors if isinstance(each, PretendTensor)]
        if not given or scope.outside is not None:
            return function(*args)
        scope.outside, scope.accesses, scope.flops = {each.memory for each in given}, {}, 0
        try:
            result = function(*args)
            made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, PretendTensor)]
            made = [each for each in made if each.memory not in scope.outside]
            touched = [*scope.accesses, *(whole(each, writes=True) for each in made)]
            flops = scope.flops
        finally:
            scope.outside = None
        enter(function.__name__, touched, flops)
        return result

    return call
