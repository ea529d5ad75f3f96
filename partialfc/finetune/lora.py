"""Low-rank updates of a trained network's weights: LoRA, Hu et al. 2021 (arXiv:2106.09685).

The weight W [O, ...] of a layer stays as it was, and B A is added to it (section 4.1), where B [O, rank] and
A [rank, I] have few numbers: I is what one of the layer's outputs sees, all other dimensions of W together.
So a layer computes with one weight, during training as after it: merging changes no bit of it. That is
cheaper than the paper's second path through the layer where a batch has more rows than the weight, as with
convolutions, and it works for whatever reads `layer.weight`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from partialfc.errors import CheckpointError, ConfigError
from partialfc.finetune.names import named_modules, selected

ORIGINAL, A, B = (f"parametrizations.weight.{name}" for name in ("original", "0.a", "0.b"))
WILDCARDS = frozenset("*?[")
SAVED = {"original": ORIGINAL, "lora_a": A, "lora_b": B}


class LowRank(nn.Module):
    """W [O, ...] -> W + alpha / rank · B A, in the shape of W: equation 3.

    `b` [O, rank] begins at 0, and so does the update; `a` [rank, I] is drawn from a normal distribution of
    deviation 1 / sqrt(I).
    """

    def __init__(self, weight: Tensor, *, rank: int, alpha: float, generator: torch.Generator) -> None:
        super().__init__()
        inputs = weight[0].numel()
        a = torch.randn(rank, inputs, generator=generator) / inputs**0.5
        self.a = nn.Parameter(a.to(weight))
        self.b = nn.Parameter(weight.new_zeros(len(weight), rank))
        self.scale = alpha / rank

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):
            return weight + (self.b @ self.a * self.scale).view(weight.shape)


def add_lora(
    module: nn.Module,
    patterns: Sequence[str],
    *,
    rank: int,
    alpha: float | None = None,
    seed: int = 0,
    key: str = "lora.patterns",
) -> list[str]:
    """Give every Linear and Conv2d layer that the patterns name a low-rank update; returns their names.

    Patterns: see `names.selected`. A layer that is frozen while others train gets an update only by a pattern
    without wildcards, such as its name; where all such layers are frozen, patterns name them as ever. The
    layers' own weights need no gradient any more; all else stays as it
    is, biases too: for LoRA as in the paper, `freeze(module, ["*"])` before it. `state_dict` and
    `load_state_dict` of the module, or of one around it, keep the names that they had, and hold W + B A: what
    is saved needs nothing of this. `lora_state` has the parts.

    rank: at least 1, at most the smaller side of a layer's weight as a matrix [O, I]. alpha: None for rank,
    by which the factor in equation 3 is 1. seed: of the first A, the same on every rank. key: what the
    patterns were given as, for messages.

    Raises ConfigError for a pattern that names no such layer, a wildcard that names frozen ones alone, a
    layer whose weight is parametrized already, and a rank that a layer is too small for.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = [_layers(module, pattern, key=key) for pattern in patterns]
    layers = {name: part for name, part in named_modules(module).items() if any(name in c for c in chosen)}
    for name, layer in layers.items():
        _check(name, layer, rank)
    for layer in layers.values():
        weight = layer.get_parameter("weight")
        _register(layer, LowRank(weight, rank=rank, alpha=alpha or rank, generator=generator))
    return [*layers]


def merge_lora(module: nn.Module) -> None:
    """Turn every layer with a low-rank update into the plain layer that computes the same, in place.

    Whatever else of a layer is parametrized, such as its bias, stays so.
    """
    for _, layer in _updated(module):
        weight = nn.Parameter(layer.weight.detach())
        # Not by torch's remove_parametrizations, which would break copies of the layer: they share its class.
        del layer.parametrizations["weight"]
        if len(layer.parametrizations):
            layer.__class__ = _without_weight(type(layer))
        else:
            layer.__class__ = type(layer).__bases__[0]
            del layer.parametrizations
        layer.weight = weight


def _without_weight(parametrized: type[nn.Module]) -> type[nn.Module]:
    """The class of a parametrized layer again, whose weight is a plain parameter."""
    kept = {name: each for name, each in vars(parametrized).items() if name not in ("weight", "__dict__")}
    return type(parametrized.__name__, parametrized.__bases__, kept)


def lora_state(module: nn.Module) -> dict[str, Tensor]:
    """For a checkpoint: of each layer with an update `NAME.original`, `NAME.lora_a` and `NAME.lora_b`."""
    return {
        f"{name}.{saved}": layer.get_parameter(own).detach()
        for name, layer in _updated(module)
        for saved, own in SAVED.items()
    }


@torch.no_grad()
def load_lora_state(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Go on from a `lora_state`. Raises CheckpointError where it is of other layers or another rank."""
    mine = lora_state(module)
    if mine.keys() != state.keys() or any(mine[name].shape != state[name].shape for name in mine):
        raise CheckpointError("its low-rank updates (finetune.lora) are of other layers, or of another rank")
    for name, tensor in mine.items():
        tensor.copy_(state[name])


def _layers(module: nn.Module, pattern: str, *, key: str) -> set[str]:
    found = selected(module, pattern, key=key)
    known = [name for name, part in named_modules(module).items() if isinstance(part, nn.Linear | nn.Conv2d)]
    layers = {name for name in known if name in found or f"{name}.weight" in found}
    if not layers:
        raise ConfigError(
            f"{key}: {pattern!r} names no Linear or Conv2d layer; the backbone has "
            f"{', '.join(known) or 'none'}"
        )
    frozen = {name for name in known if not _trains(module.get_submodule(name))}
    if WILDCARDS.isdisjoint(pattern) or len(frozen) == len(known):
        return layers
    if not layers - frozen:
        raise ConfigError(
            f"{key}: {pattern!r} names frozen layers alone, {', '.join(sorted(layers))}: frozen parts get "
            "low-rank updates only where they are named without wildcards"
        )
    return layers - frozen


def _trains(layer: nn.Module) -> bool:
    weight: Any = layer.weight  # computed, where it is parametrized
    return bool(weight.requires_grad)


def _check(name: str, layer: nn.Module, rank: int) -> None:
    if parametrize.is_parametrized(layer, "weight"):
        raise ConfigError(
            f"lora: the weight of {name} is parametrized already, so it takes no low-rank update"
        )
    weight = layer.get_parameter("weight")
    sides = len(weight), weight[0].numel()
    if not 1 <= rank <= min(sides):
        raise ConfigError(
            f"lora.rank is {rank}; the weight of {name} is a matrix of {sides[0]} x {sides[1]}, so it must "
            f"be 1..{min(sides)}: lower it, or leave {name} out"
        )


def _register(layer: Any, update: LowRank) -> None:
    parametrize.register_parametrization(layer, "weight", update)
    layer.parametrizations.weight.original.requires_grad_(False)
    layer.register_state_dict_post_hook(_merge_saved)
    layer.register_load_state_dict_pre_hook(_take_merged)


def _updated(module: nn.Module) -> Iterator[tuple[str, Any]]:
    for name, layer in module.named_modules():
        if _has_update(layer):
            yield name, layer


def _has_update(layer: Any) -> bool:
    own = parametrize.is_parametrized(layer, "weight")
    return own and isinstance(layer.parametrizations.weight[0], LowRank)


def _merge_saved(layer: Any, state: dict[str, Any], prefix: str, _: object) -> None:
    """After a state_dict of the layer: the weight that it computes with, in the place of its parts."""
    if not _has_update(layer):
        return  # merged since
    for name in (ORIGINAL, A, B):
        state.pop(prefix + name, None)
    with torch.no_grad():
        state[prefix + "weight"] = layer.weight.detach()


def _take_merged(layer: Any, state: dict[str, Any], prefix: str, *_: object) -> None:
    """Before a state is loaded into the layer: a plain weight becomes its own, with no update."""
    if _has_update(layer) and prefix + "weight" in state:
        update = layer.parametrizations.weight[0]
        state[prefix + ORIGINAL] = state.pop(prefix + "weight")
        state[prefix + A], state[prefix + B] = update.a.detach(), torch.zeros_like(update.b)
