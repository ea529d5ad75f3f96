"""What an operation on the device does: it is checked, computed behind the scenes, ordered and logged."""

import functools
from typing import Any

import torch
from torch import Tensor

from tests.pretend import collectives, cost, rules
from tests.pretend.cost import Access
from tests.pretend.fused import scope
from tests.pretend.log import Operation, site
from tests.pretend.machine import NAME, machine
from tests.pretend.tensor import PretendTensor, behind, fresh, wrapped
from tests.pretend.tree import tree_leaves

aten = torch.ops.aten


def run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """An operation that has a tensor of the device among its arguments."""
    if func.namespace == "c10d":
        return collectives.run(func, args, kwargs)
    if func.overloadpacket is aten._to_copy:
        return _to_copy(args[0], **kwargs)
    if func.overloadpacket is aten.set_ and len(args) == 1:
        return _let_go(args[0])
    if func.overloadpacket is aten.copy_:
        return copy(*args, **kwargs)
    if torch.is_inference_mode_enabled():  # where autograd has not taken it to pieces before
        pieces = func.decompose(*args, **kwargs)
        if pieces is not NotImplemented:
            return pieces
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    rules.check(func, args, tensors)
    given = [each for each in tensors if isinstance(each, PretendTensor)]
    if func.overloadpacket is aten._local_scalar_dense:
        machine.order.host_knows(machine.order.everything())
        return _value(given[0])
    if kwargs.get("device") is not None:
        kwargs = kwargs | {"device": machine.behind}
    kwargs = {name: value for name, value in kwargs.items() if name != "pin_memory"}
    function = IN_PLACE_OF.get(func, func)
    result = wrapped(function(*behind(args), **behind(kwargs)), given)
    results = [leaf for leaf in tree_leaves(result) if isinstance(leaf, PretendTensor)]
    assert all(leaf.shape == leaf.behind.shape for leaf in results), f"{func} resizes a tensor"
    if not _moves_nothing(func, given, results):
        log(_name(func), cost.accesses(func, args, kwargs, results), cost.flops(func, args, kwargs, result))
    return result


@functools.cache
def _name(func: Any) -> str:
    return func._schema.name.removeprefix("aten::")  # type: ignore[no-any-return]


@functools.cache
def _is_mutable(func: Any) -> bool:
    return func._schema.is_mutable  # type: ignore[no-any-return]


def log(name: str, accesses: list[Access], flops: int = 0) -> None:
    """Enter an operation into the log, or into the function around it that counts as one launch."""
    if not scope.add(accesses, flops):
        enter(name, accesses, flops)


def enter(name: str, accesses: list[Access], flops: int) -> None:
    """One launch."""
    accesses = [access for access in accesses if access.size]
    if not accesses:
        return
    machine.order.use(
        [access.memory for access in accesses if not access.writes],
        [access.memory for access in accesses if access.writes],
    )
    before = machine.cache.traffic
    for access in accesses:
        access.through(machine.cache)
    machine.log.operations.append(
        Operation(
            name=name,
            phase=machine.log.current,
            site=site(),
            launches=1,
            touched=sum(access.size for access in accesses),
            moved=machine.cache.traffic - before,
            flops=flops,
        )
    )


def copy(target: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    """target.copy_(source), between the device and itself or the host."""
    if isinstance(target, PretendTensor) and isinstance(source, PretendTensor):
        target.behind.copy_(source.behind)
        log("copy_", cost.accesses(aten.copy_.default, (target, source), {}, [target]))
    elif isinstance(target, PretendTensor):
        target.behind.copy_(source.to(machine.behind).broadcast_to(target.shape))
        log("copy_", cost.accesses(aten.copy_.default, (target,), {}, [target]))
        late = _check_copy("to the device", source, non_blocking)
        if late and not machine.hollow:
            machine.pinned.is_read_late(source)
    else:
        assert isinstance(source, PretendTensor)
        log("copy_", [cost.whole(source, writes=False)])
        late = _check_copy("to the host", target, non_blocking)
        value = torch.ones(source.shape, dtype=source.dtype) if machine.hollow else source.behind
        if late:
            machine.pinned.arrives_late(target, value.to(target.dtype).broadcast_to(target.shape))
        else:
            target.copy_(value)
    return target


def _check_copy(where: str, on_host: Tensor, non_blocking: bool) -> bool:
    """Whether the host goes on at once; if not, it has waited for all that the device was told."""
    late = non_blocking and machine.pinned.is_pinned(on_host)
    if not late and on_host.numel():
        why = "memory that is not pinned" if non_blocking else "not non_blocking"
        machine.log.fault("blocking copy", f"{where}, {list(on_host.shape)}, {why}")
        machine.order.host_knows(machine.order.everything())
    return late


def _to_copy(source: PretendTensor, **options: Any) -> Tensor:
    """source.to(...), on the device or to the host."""
    device, non_blocking = options.pop("device", None), options.pop("non_blocking", False)
    options.pop("pin_memory", None)
    if device is None or torch.device(device).type == NAME:
        result = wrapped(aten._to_copy.default(source.behind, **options), [])
        log("_to_copy", cost.accesses(aten._to_copy.default, (source,), {}, [result]))
        return result  # type: ignore[no-any-return]
    target = torch.empty(source.shape, dtype=options.get("dtype") or source.dtype)
    if non_blocking:
        machine.pinned.mark(target)  # as torch does
    return copy(target, source, non_blocking)


def _let_go(tensor: PretendTensor) -> PretendTensor:
    """tensor.set_(): it leaves its memory. Only its shape, which a wrapper cannot change, stays."""
    tensor.behind = torch.empty(0, dtype=tensor.dtype, device=machine.behind)
    tensor.memory = machine.allocate(0)
    return tensor


def _value(tensor: PretendTensor) -> Any:
    if not machine.hollow:
        return tensor.behind.item()
    return torch.ones((), dtype=tensor.dtype).item()


def _moves_nothing(func: Any, given: list[PretendTensor], results: list[PretendTensor]) -> bool:
    """Whether it makes a view, or memory that nothing is written to."""
    if _is_mutable(func):
        return False
    known = {each.memory for each in given}
    return func.overloadpacket in EMPTY or all(each.memory in known for each in results)


EMPTY = {aten.empty_like, aten.new_empty, aten.new_empty_strided, aten.empty}


def _mm(first: Tensor, second: Tensor, out_dtype: torch.dtype) -> Tensor:
    return first.to(out_dtype) @ second.to(out_dtype)


def _addmm(total: Tensor, first: Tensor, second: Tensor, out_dtype: torch.dtype, **factors: Any) -> Tensor:
    return torch.addmm(total, first.to(out_dtype), second.to(out_dtype), **factors)


def _addmm_out(
    total: Tensor, first: Tensor, second: Tensor, out_dtype: torch.dtype, *, out: Tensor, **factors: Any
) -> Tensor:
    return torch.addmm(total, first.to(out_dtype), second.to(out_dtype), **factors, out=out)


# What the CPU lacks.
IN_PLACE_OF = {aten.mm.dtype: _mm, aten.addmm.dtype: _addmm, aten.addmm.dtype_out: _addmm_out}


def made(behind: Tensor, name: str) -> PretendTensor:
    """A tensor that an operation makes of numbers alone."""
    result = fresh(behind)
    log(name, [cost.whole(result, writes=True)])
    return result


def new(size: Any, strides: Any, dtype: torch.dtype | None) -> PretendTensor:
    """Memory of the device that nothing was written to."""
    dtype = dtype or torch.get_default_dtype()
    if strides is None:
        return fresh(torch.empty(size, dtype=dtype, device=machine.behind))
    return fresh(torch.empty_strided(size, strides, dtype=dtype, device=machine.behind))
