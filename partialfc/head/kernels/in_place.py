"""Kernels that write rows where they read them, and the trial of each of their compiled variants.

An update reads a row, computes, and writes it back. Told that the tensor written is another one than the
tensor read, a second handle on the same memory, the compiler does all three in one loop. Told the truth, it
writes all new rows to memory of their own first, which takes twice the time, or it fails (torch 2.13).

It may then order reads and writes of different rows as it likes, which is fine, since rows are distinct; but
it must not write a row and read it afterwards. It has no reason to, and before a variant's first use a trial
on a few rows shows whether it does. (A variant for tensors of more than 2^31 elements is tried as one for
smaller ones, whose code differs in the type of its indices alone.)
"""

import itertools
import warnings
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack, to_dlpack  # type: ignore[attr-defined]

from partialfc.head.kernels.compiled import Kernel, trouble
from partialfc.head.kernels.storage import Stored

FEW = 64  # rows of a trial, or a few more
StoredRows = tuple[Stored | None, ...]


class InPlaceKernel:
    """A kernel function(rows, out, index, settings, *others) that reads `rows` and writes the same, `out`.

    index [k]: which rows, distinct; None: all. settings: a vector of numbers, or None; strong_settings: some
    that make an update change rows a lot, for the trial. Whatever else it writes must be among `others`.
    """

    def __init__(self, function: Callable[..., None], strong_settings: tuple[float, ...]) -> None:
        self._kernel = Kernel(function)
        self._strong_settings = strong_settings
        self._is_right: dict[Hashable, bool] = {}  # by variant

    def __call__(
        self, rows: StoredRows, index: Tensor | None, settings: Tensor | None, *others: Any, compiled: bool
    ) -> None:
        compiled = compiled and trouble() is None
        if compiled:
            arguments = (rows, index, settings, *others)
            variant = variant_of(arguments)
            if variant not in self._is_right:
                self._is_right[variant] = self._try(arguments)
            compiled = self._is_right[variant]
        self._run(rows, index, settings, *others, compiled=compiled)

    def _run(self, rows: StoredRows, *arguments: Any, compiled: bool) -> None:
        if compiled:
            self._kernel(*map(second_handle, (rows, rows, *arguments)), compiled=True)
        else:
            self._kernel(rows, rows, *arguments, compiled=False)

    def _try(self, arguments: tuple[Any, ...]) -> bool:
        """Whether the variant moves a few rows as the uncompiled kernel does; warns where it does not."""
        results = []
        for compiled in (False, True):
            like = _few_like(arguments, self._strong_settings)
            self._run(*like, compiled=compiled)
            results.append([*_tensors(like)])
        if all(_close(fast, plain) for plain, fast in zip(*results, strict=True)):
            return True
        warnings.warn(
            "this version of torch.compile updates rows wrongly when they are written through a second "
            "handle, so these updates run uncompiled: their results are right, but slower; please report it",
            RuntimeWarning,
            stacklevel=2,
        )
        return False


def in_place(*strong_settings: float) -> Callable[[Callable[..., None]], InPlaceKernel]:
    """Decorate a function as an InPlaceKernel."""
    return lambda function: InPlaceKernel(function, strong_settings)


def second_handle(value: Any) -> Any:
    """A tensor, or those inside tuples, as others on the same memory, which are no views of anything."""
    return _mapped(value, lambda tensor: from_dlpack(to_dlpack(tensor)))


def variant_of(arguments: tuple[Any, ...]) -> Hashable:
    """Equal for arguments that the compiler has the same code for: all but how large sizes are above 1."""
    kinds: list[Hashable] = []
    sizes: list[int] = []
    for leaf in _leaves(arguments):
        if isinstance(leaf, Tensor):
            kinds.append((leaf.dtype, leaf.device, leaf.is_contiguous()))
            sizes += leaf.shape
        else:
            kinds.append(leaf)
    # The compiler looks at which sizes are equal, and at 0 and 1.
    return tuple(kinds), tuple(size if size < 2 else (sizes.index(size),) for size in sizes)


def _few_like(arguments: tuple[Any, ...], strong_settings: tuple[float, ...]) -> tuple[Any, ...]:
    """Arguments of the same variant with a few rows of random numbers, the same in every call."""
    rows, index, settings, *others = arguments
    size = rows[0].values.shape[0]
    few = _few_sizes(size if index is None else len(index), size, arguments)
    generator = torch.Generator().manual_seed(0)

    def like(tensor: Tensor) -> Tensor:
        return _random_like(tensor, [few.get(each, each) for each in tensor.shape], generator)

    if index is not None:
        count = few[len(index)]
        index = torch.arange(count, device=index.device)
        index[count // 2 :] += few[size] - count  # a gap in the middle
    if settings is not None:
        settings = torch.tensor(strong_settings, dtype=settings.dtype, device=settings.device)
    return (_mapped(rows, like), index, settings, *_mapped(tuple(others), like))


def _few_sizes(count: int, size: int, arguments: tuple[Any, ...]) -> dict[int, int]:
    """The rows that take part and the shard's -> as many in a trial; what equals another size stays."""
    tensors = [*_tensors(arguments)]
    fixed = {each for tensor in tensors for each in tensor.shape} - {count, size}
    fixed |= {each for tensor in tensors for each in tensor.shape[1:]}
    few: dict[int, int] = {}
    for each in sorted({count, size}):
        free = (n for n in itertools.count(max([FEW, *few.values()]) + 1) if n not in fixed)
        few[each] = each if each <= FEW or each in fixed else next(free)
    return few


def _random_like(value: Tensor, shape: list[int], generator: torch.Generator) -> Tensor:
    """Positive random numbers in a tensor of that shape, otherwise like `value`."""
    if value.dtype.is_floating_point:
        numbers = (0.1 + 0.9 * torch.rand(shape, generator=generator, device="cpu")).to(value.dtype)
    else:
        numbers = torch.randint(1, 100, shape, generator=generator, device="cpu").to(value.dtype)
    return numbers.to(value.device)


def _mapped(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """The value with the function applied to its tensors, inside tuples too."""
    if isinstance(value, tuple):
        each = [_mapped(inner, function) for inner in value]
        return type(value)(*each) if hasattr(value, "_fields") else tuple(each)
    return function(value) if isinstance(value, Tensor) else value


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple):
        for each in value:
            yield from _leaves(each)
    else:
        yield value


def _tensors(value: Any) -> Iterator[Tensor]:
    return (leaf for leaf in _leaves(value) if isinstance(leaf, Tensor))


def _close(value: Tensor, true: Tensor) -> bool:
    """Whether they differ by no more than two steps of the coarsest grid that rows are rounded to."""
    value, true = value.to(torch.float64), true.to(torch.float64)
    return bool((value - true).abs().max() <= 0.03 * true.abs().max())
