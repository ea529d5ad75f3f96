"""What an operation reads and writes of the device's memory, and how much it multiplies."""

import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

from tests.pretend.cache import Cache
from tests.pretend.memory import Memory
from tests.pretend.tensor import PretendTensor, values_of
from tests.pretend.tree import tree_leaves

aten = torch.ops.aten
OVERWRITES = {aten.copy_, aten.fill_, aten.zero_, aten.normal_, aten.uniform_}
PICKS = {aten.index, aten.gather, aten.index_select}
PUTS = {aten.index_put_, aten.index_add_, aten.index_copy_, aten.scatter_}


@dataclass(frozen=True, slots=True)
class Access:
    """A range of memory that is read or written; scattered: rows of it, from here and there."""

    memory: Memory
    start: int
    size: int
    writes: bool
    scattered: bool = False

    def through(self, cache: Cache) -> None:
        if self.scattered:
            (cache.write_rows if self.writes else cache.read_rows)(self.size)
        else:
            (cache.write if self.writes else cache.read)(self.memory.address + self.start, self.size)


def accesses(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], results: list[Tensor]) -> list[Access]:
    """Of one operation, reads first."""
    packet = func.overloadpacket
    written = _written(func, args, kwargs)
    given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, PretendTensor)]
    reads, writes = [], []
    if packet in PICKS:
        rows = results[0].numel() * results[0].element_size()
        reads.append(Access(given[0].memory, 0, rows, writes=False, scattered=True))
        given = given[1:]
    elif packet in PUTS:
        target, rows = given[0], _rows_put(packet, args)
        if packet is aten.index_add_:
            reads.append(Access(target.memory, 0, rows, writes=False, scattered=True))
        writes.append(Access(target.memory, 0, rows, writes=True, scattered=True))
        given, written = given[1:], []
    elif packet in OVERWRITES:
        given = given[1:]
    elif func._overloadname.endswith("out"):
        given = [leaf for leaf in given if not _among(leaf, written)]
    reads += [whole(leaf, writes=False) for leaf in given]
    made = [leaf for leaf in results if isinstance(leaf, PretendTensor) and not _among(leaf, given)]
    outs = written or [leaf for leaf in made if packet not in PUTS]
    return reads + writes + [whole(leaf, writes=True) for leaf in outs]


def flops(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> int:
    """Floating-point operations of a matrix product or a convolution; 0 of everything else."""
    count = flop_registry.get(func.overloadpacket)
    if count is None:
        return 0
    if func.overloadpacket in (aten.mm, aten.addmm):  # torch's formula knows no out_dtype
        first, second = [each for each in args if isinstance(each, Tensor)][-2:]
        return 2 * first.shape[0] * first.shape[1] * second.shape[1]
    return int(count(*args, **kwargs, out_val=result))


def _written(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[PretendTensor]:
    """The arguments that an operation writes to."""
    found = [
        kwargs[name] if name in kwargs else args[place] if place < len(args) else None
        for place, name in _places_written(func)
    ]
    return [each for each in found if isinstance(each, PretendTensor)]


@functools.cache
def _places_written(func: Any) -> list[tuple[int, str]]:
    """Number and name of each such argument."""
    arguments = enumerate(func._schema.arguments)
    return [
        (n, each.name) for n, each in arguments if each.alias_info is not None and each.alias_info.is_write
    ]


def _rows_put(packet: Any, args: tuple[Any, ...]) -> int:
    """The bytes of the rows that an operation writes here and there."""
    target = args[0]
    if packet is aten.index_put_:
        given = [each is not None for each in args[1]]
        kept = 1
        for size, indexed in zip(target.shape, [*given, *[False] * target.dim()], strict=False):
            kept *= 1 if indexed else size
        shape = torch.broadcast_shapes(*(each.shape for each in args[1] if each is not None))
        return kept * shape.numel() * target.element_size()
    source = args[3]
    return source.numel() * target.element_size() if isinstance(source, Tensor) else 0


def whole(tensor: PretendTensor, *, writes: bool) -> Access:
    """All of a tensor that is in memory."""
    values = values_of(tensor.behind)
    count = 1
    for size, stride in zip(values.shape, values.stride(), strict=True):
        count *= size if stride else min(size, 1)  # an expanded dimension is one in memory
    item = values.element_size()
    return Access(tensor.memory, values.storage_offset() * item, count * item, writes)


def _among(tensor: Tensor, others: list[PretendTensor]) -> bool:
    return any(tensor is other for other in others)
