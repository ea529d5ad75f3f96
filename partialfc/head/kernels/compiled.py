"""torch.compile for the element-wise parts, and the plain function where there is no compiler."""

import functools
import warnings
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar, cast

import torch

from partialfc.distributed.accelerator import is_accelerator

P = ParamSpec("P")
R = TypeVar("R")

# Rows are distinct and in range by construction, so the kernels need not check every index.
OPTIONS: dict[str, str | int | bool | Callable[..., Any]] = {"assert_indirect_indexing": False}
# A GPU computes again what a kernel reads twice, which takes less time than a detour through its memory: by
# default Inductor writes rows that it has read through an index to a copy, for the second of two loops.
OPTIONS_OF_ACCELERATORS = OPTIONS | {"realize_reads_threshold": 1 << 10, "realize_opcount_threshold": 1 << 10}

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
        self._compiled: dict[bool, Callable[..., R]] = {}  # by whether it is for an accelerator

    def __call__(self, *arguments: Any, compiled: bool) -> R:
        if not compiled or _trouble:
            return self._function(*arguments)
        # These imports take a second or two; a head that stays eager does without.
        from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException
        from torch._inductor.exc import CppCompileError, InvalidCxxCompiler

        accelerated = _on_accelerator(arguments)
        if accelerated not in self._compiled:
            options = OPTIONS_OF_ACCELERATORS if accelerated else OPTIONS
            self._compiled[accelerated] = torch.compile(
                self._function, dynamic=True, fullgraph=True, options=options
            )
        compiled_one = self._compiled[accelerated]
        try:
            try:
                return compiled_one(*arguments)
            except FailOnRecompileLimitHit:
                # Many heads of different dtypes in one process; each combination needs code of its own.
                with torch._dynamo.config.patch(recompile_limit=1 << 20):
                    return compiled_one(*arguments)
        except (TorchDynamoException, FailOnRecompileLimitHit, CppCompileError, InvalidCxxCompiler) as error:
            _trouble.append(str(error).strip().splitlines()[0])
            warnings.warn(
                f"torch.compile failed, so the head runs uncompiled and slower: {_trouble[0]} "
                "(a C++ compiler is needed on a CPU, Triton on a GPU; compile=False silences this)",
                RuntimeWarning,
                stacklevel=2,
            )
            return self._function(*arguments)


def _on_accelerator(arguments: tuple[Any, ...]) -> bool:
    """Whether the first tensor among them, inside tuples too, lies on one."""
    for each in arguments:
        if isinstance(each, torch.Tensor):
            return is_accelerator(each.device)
        if isinstance(each, tuple) and any(isinstance(inner, (torch.Tensor, tuple)) for inner in each):
            return _on_accelerator(each)
    return False


def trouble() -> str | None:
    """Why kernels run uncompiled here, or None as long as nothing went wrong."""
    return _trouble[0] if _trouble else None
