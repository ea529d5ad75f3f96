"""torch.compile for the element-wise parts, and the plain function where there is no compiler."""

import functools
import warnings
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar, cast

import torch

P = ParamSpec("P")
R = TypeVar("R")

# Rows are distinct and in range by construction, so the kernels need not check every index.
OPTIONS: dict[str, str | int | bool | Callable[..., Any]] = {"assert_indirect_indexing": False}

_trouble: list[str] = []  # why this process runs without a compiler, from the first failure on


def outside_graphs(function: Callable[P, R]) -> Callable[P, R]:
    """The function, run as it is where torch.compile compiles its caller, before and after it apart.

    As torch.compiler.disable, which imports the compiler, a second or two; this does so at the first call.
    """

    outside: Callable[P, R] | None = None

    @functools.wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> R:
        nonlocal outside
        if outside is None:
            outside = cast(Callable[P, R], torch.compiler.disable(function))  # type: ignore[no-untyped-call]
        return outside(*arguments, **options)

    return call


def worth_compiling(numbers: int, *, narrow: bool) -> bool:
    """Whether compiling, some 40 s and 7 s from then on, is earned back within about a thousand steps.

    numbers: those of the centres that take part in a step, K · D. narrow: whether they or the products are
    bfloat16. At the limits an uncompiled step takes two to four times as long as a compiled one.
    """
    return numbers >= (1 << 21 if narrow else 1 << 22)


class Kernel(Generic[R]):
    """A function of tensors, run eagerly or compiled as the caller's `compiled` says. It may change them.

    Compiled for any size at once (C++ on a CPU, Triton on a GPU). The first failure to compile warns once,
    and from then on this process runs every kernel eagerly.
    """

    def __init__(self, function: Callable[..., R]) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._compiled: Callable[..., R] | None = None

    def __call__(self, *arguments: Any, compiled: bool) -> R:
        if not compiled or _trouble:
            return self._function(*arguments)
        # These imports take a second or two; a head that stays eager does without.
        from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException
        from torch._inductor.exc import CppCompileError, InvalidCxxCompiler

        if self._compiled is None:
            self._compiled = torch.compile(self._function, dynamic=True, fullgraph=True, options=OPTIONS)
        try:
            try:
                return self._compiled(*arguments)
            except FailOnRecompileLimitHit:
                # Many heads of different dtypes in one process; each combination needs code of its own.
                with torch._dynamo.config.patch(recompile_limit=1 << 20):
                    return self._compiled(*arguments)
        except (TorchDynamoException, FailOnRecompileLimitHit, CppCompileError, InvalidCxxCompiler) as error:
            _trouble.append(str(error).strip().splitlines()[0])
            warnings.warn(
                f"torch.compile failed, so the head runs uncompiled and slower: {_trouble[0]} "
                "(a C++ compiler is needed on a CPU, Triton on a GPU; compile=False silences this)",
                RuntimeWarning,
                stacklevel=2,
            )
            return self._function(*arguments)


def trouble() -> str | None:
    """Why kernels run uncompiled here, or None as long as nothing went wrong."""
    return _trouble[0] if _trouble else None
