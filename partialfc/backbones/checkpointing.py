"""Activation checkpointing: a block's activations are dropped, and computed again in the pass back.

Chen et al. 2016 (arXiv:1604.06174), section 4.1. The result is the same to the bit. What torch's own function
leaves to the caller is done here: buffers that a pass forward moves, such as running statistics, are moved by
the first pass alone, and the second one sees them, and switches such as `training`, as the first one did.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, partial
from typing import Any, SupportsIndex

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from partialfc.errors import ConfigError

METHOD = "checkpointed_blocks"


def checkpointed(backbone: nn.Module, *, name: str) -> nn.Module:
    """The same backbone, whose blocks keep only their inputs for the pass back; changed in place.

    Names in its state dict stay. Memory is then one feature map for each block, and what the largest block
    needs; each block's pass forward runs twice. Copies and pickles of it do the same. Blocks are what the
    backbone's method `checkpointed_blocks` gives; without one, the smallest modules with several layers that
    stand in an nn.Sequential or nn.ModuleList. Without gradients, as in evaluation, nothing changes.

    name: what the config calls it, for messages. Raises ConfigError where there are no such blocks.
    """
    blocks = checkpointed_blocks(backbone)
    if not blocks:
        raise ConfigError(
            f"backbone.checkpointing is true, but no blocks are found in {name}: give it a method "
            f"{METHOD}(), which returns a list of its modules, or put its blocks into an nn.Sequential; or "
            "leave it false"
        )
    for block in blocks:
        block.__class__ = _checkpointed_class(type(block))  # type: ignore[arg-type]  # a class can be hashed
    return backbone


def checkpointed_blocks(backbone: nn.Module) -> list[nn.Module]:
    """The modules whose activations `checkpointed` drops."""
    chosen = getattr(backbone, METHOD, None)
    return list(chosen()) if callable(chosen) else _smallest_blocks(backbone)


def _smallest_blocks(module: nn.Module) -> list[nn.Module]:
    """Items of containers that have several layers with parameters, and no such item within."""
    found = []
    for child in module.children():
        below = _smallest_blocks(child)
        is_item = isinstance(module, (nn.Sequential, nn.ModuleList))
        is_container = isinstance(child, (nn.Sequential, nn.ModuleList))
        found += [child] if is_item and not is_container and not below and _layers(child) > 1 else below
    return found


def _layers(module: nn.Module) -> int:
    return sum(1 for each in module.modules() if next(each.parameters(recurse=False), None) is not None)


@cache
def _checkpointed_class(kind: type[nn.Module]) -> type[nn.Module]:
    """The class whose modules compute again what they need for the pass back; copies of them do too."""

    def forward(self: nn.Module, *arguments: Any, **options: Any) -> Any:
        compute = partial(kind.forward, self)
        if not torch.is_grad_enabled():
            return compute(*arguments, **options)
        around = partial(_around_passes, self)
        return checkpoint(compute, *arguments, use_reentrant=False, context_fn=around, **options)

    def reduce(self: nn.Module, protocol: SupportsIndex) -> tuple[Any, ...]:
        """As `kind` pickles, and by its name: no name leads to this class."""
        reduced = kind.__reduce_ex__(self, protocol)
        assert not isinstance(reduced, str)  # that would be a global object's name
        make, arguments, *rest = reduced
        make, *named = (kind if each is type(self) else each for each in (make, *arguments))
        return _made_checkpointed, (kind, make, *named), *rest

    parts = {"forward": forward, "__reduce_ex__": reduce, "__module__": kind.__module__}
    return type(kind.__name__, (kind,), parts)


def _made_checkpointed(kind: type[nn.Module], make: Callable[..., nn.Module], *arguments: Any) -> nn.Module:
    """A module from a pickle, before it gets its state. Pickles hold this function by its name."""
    module = make(*arguments)
    module.__class__ = _checkpointed_class(kind)  # type: ignore[arg-type]  # a class can be hashed
    return module


def _around_passes(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Around the first pass nothing; around the second what the block's modules were before both."""
    seen: list[_Entry] = []
    for module in block.modules():
        buffers = module._buffers.items()
        seen += [(module._buffers, name, each.clone()) for name, each in buffers if each is not None]
        own = vars(module)
        seen += [(own, name, value) for name, value in own.items() if isinstance(value, bool)]
    return nullcontext(), _in_place_of(seen)


_Entry = tuple[dict[str, Any], str, Any]  # of a module's buffers or attributes, its name and its value


@contextmanager
def _in_place_of(seen: Sequence[_Entry]) -> Iterator[None]:
    """Within it, the modules have these buffers and switches; afterwards their own again, as they were."""
    own = [(entries, name, entries[name]) for entries, name, _ in seen]
    try:
        for entries, name, value in seen:
            entries[name] = value
        yield
    finally:
        for entries, name, value in own:
            entries[name] = value
