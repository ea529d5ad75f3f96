"""Backbones by name: images [B, channels, image_size, image_size] -> embeddings [B, embedding_size]."""

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from difflib import SequenceMatcher
from functools import partial
from typing import Any

from torch import nn

from partialfc.backbones.convnet import ConvNet
from partialfc.backbones.imported import import_callable
from partialfc.backbones.iresnet import IResNet
from partialfc.backbones.mobilefacenet import MobileFaceNet
from partialfc.backbones.narrow_maps import widen_narrow_maps
from partialfc.backbones.sizes import OptionError
from partialfc.backbones.timm_model import PREFIX, TimmBackbone
from partialfc.backbones.vargfacenet import VarGFaceNet
from partialfc.backbones.vit import VisionTransformer
from partialfc.errors import ConfigError

BACKBONES: dict[str, Callable[..., nn.Module]] = {
    "iresnet18": partial(IResNet, (2, 2, 2, 2)),
    "iresnet34": partial(IResNet, (3, 4, 6, 3)),
    "iresnet50": partial(IResNet, (3, 4, 14, 3)),
    "iresnet100": partial(IResNet, (3, 13, 30, 3)),
    "iresnet200": partial(IResNet, (6, 26, 60, 6)),
    "mobilefacenet": MobileFaceNet,
    "vargfacenet": VarGFaceNet,
    "vit_tiny": partial(VisionTransformer, width=192, heads=3),
    "vit_small": partial(VisionTransformer, width=384, heads=6),
    "vit_base": partial(VisionTransformer, width=768, heads=12),
    "convnet": ConvNet,
}


def build_backbone(
    name: str,
    *,
    embedding_size: int,
    image_size: int = 112,
    channels: int = 3,
    options: Mapping[str, Any] | None = None,
    trust: Collection[str] | None = None,
    options_key: str | None = None,
) -> nn.Module:
    """The backbone of that name; `"timm:NAME"`, a model of timm; or what `"module:callable"` returns.

    options: its further keyword arguments. trust: the modules that may be imported where the name comes from
    a file; None: any, as the name is the user's own word. options_key: what holds the options, for messages,
    such as `backbone.options` of a config.

    Raises ConfigError for an unknown name, an option that the backbone does not have or a value that it
    refuses, and for a callable that may not or cannot be imported or returns no nn.Module.
    """
    options = options or {}
    arguments = {"embedding_size": embedding_size, "image_size": image_size, "channels": channels}
    build = _find(name, trust)
    place = "" if options_key is None else f"{options_key}."
    _check_signature(name, build, arguments, options, place)
    try:
        backbone = build(**arguments, **options)
    except OptionError as error:
        key = error.name if error.name in arguments else f"{place}{error.name}"
        raise ConfigError(f"backbone {name!r}: {key}={error.value!r}: {error.rule}") from error
    if not isinstance(backbone, nn.Module):
        raise ConfigError(f"backbone {name!r}: returned a {type(backbone).__name__}, not an nn.Module")
    widen_narrow_maps(backbone)
    return backbone


def _find(name: str, trust: Collection[str] | None) -> Callable[..., Any]:
    if name.startswith(PREFIX):
        return partial(TimmBackbone, name.removeprefix(PREFIX))
    if ":" in name:
        return import_callable(name, trust)
    if name in BACKBONES:
        return BACKBONES[name]
    raise ConfigError(
        f"unknown backbone {name!r}; known: {', '.join(_nearest_first(name, BACKBONES))},"
        ' one of timm as "timm:NAME", or your own as "module:callable"'
    )


def _check_signature(
    name: str, build: Callable[..., Any], arguments: Mapping[str, Any], options: Mapping[str, Any], place: str
) -> None:
    """Before the call, so that a TypeError inside the backbone is not taken for a bad argument.

    place: what stands before an option's name in a message.
    """
    try:
        signature = inspect.signature(build)
    except ValueError as error:
        raise ConfigError(f"backbone {name!r}: not a Python callable with named arguments") from error
    accepted = [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values()):
        if missing := [argument for argument in arguments if argument not in accepted]:
            raise ConfigError(
                f"backbone {name!r}: must accept the keyword arguments {', '.join(arguments)};"
                f" it has no {', '.join(missing)}"
            )
        known = [option for option in accepted if option not in arguments]
        for option in options:
            if option not in known:
                listed = ", ".join(_nearest_first(option, known)) or "none"
                raise ConfigError(
                    f"backbone {name!r} has no option {place + option!r}; its options: {listed}"
                )
    try:
        signature.bind(**arguments, **options)
    except TypeError as error:
        raise ConfigError(
            f"backbone {name!r}: {error}{f'; set it in {place[:-1]}' if place else ''}"
        ) from error


def _nearest_first(word: str, known: Iterable[str]) -> list[str]:
    return sorted(known, key=lambda other: -SequenceMatcher(None, word, other).ratio())
