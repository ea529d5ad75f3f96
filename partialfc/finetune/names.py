"""Patterns that name parts of a network: its modules and parameters, by their dotted names."""

from collections.abc import Collection
from difflib import get_close_matches
from fnmatch import fnmatchcase

from torch import nn

from partialfc.errors import ConfigError

SHOWN = 5  # names in a message
# What torch.nn.utils.parametrize calls what `lora.add_lora` adds -> what patterns call it.
OF_LORA = {
    ".parametrizations.weight.original": ".weight",
    ".parametrizations.weight.0.a": ".lora_a",
    ".parametrizations.weight.0.b": ".lora_b",
}


def named_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters by the names that patterns see: those of before low-rank updates were added.

    The factors of the layer `fc` are `fc.lora_a` and `fc.lora_b`.
    """
    return {_plain(name): parameter for name, parameter in module.named_parameters()}


def named_modules(module: nn.Module) -> dict[str, nn.Module]:
    """The modules below it by name, without those of low-rank updates."""
    parts = dict(module.named_modules())
    return {name: part for name, part in parts.items() if name and "parametrizations" not in name.split(".")}


def selected(module: nn.Module, pattern: str, *, key: str) -> set[str]:
    """The names of modules and parameters that match a pattern, and of all that lies below such a module.

    pattern: as of fnmatch, where `*` also stands for dots: `layer1`, `layer?.0`, `*.bias`, `*`. key: what it
    was given as, for messages. Raises ConfigError where nothing matches.
    """
    names = [*named_modules(module), *named_parameters(module)]
    matching = {name for name in names if fnmatchcase(name, pattern)}
    if not matching:
        raise ConfigError(
            f"{key}: {pattern!r} matches no module or parameter of the backbone; it has "
            f"{_near(pattern, names)}"
        )
    return {name for name in names if not matching.isdisjoint(_with_parents(name))}


def _plain(name: str) -> str:
    for ending, plain in OF_LORA.items():
        if name.endswith(ending):
            return name.removesuffix(ending) + plain
    return name


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: count + 1]) for count in range(len(parts))]


def _near(pattern: str, names: Collection[str]) -> str:
    """The names that are spelt most like the pattern, else those at the top."""
    text = pattern.strip("*.")
    near = get_close_matches(text, names, n=SHOWN) or [name for name in names if text and text in name]
    shown = near[:SHOWN] or [name for name in names if "." not in name]
    return ", ".join(shown)
