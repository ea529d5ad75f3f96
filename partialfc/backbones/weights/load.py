"""The weights of a file or of a run into a backbone, or in a few lines why they do not fit."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from partialfc.backbones.build import BACKBONES, build_backbone
from partialfc.backbones.timm_model import TimmBackbone
from partialfc.backbones.weights.files import RESAVE, StandIn
from partialfc.backbones.weights.fit import DEPTH, Candidate, candidates, plain_name, same_tensors
from partialfc.errors import CheckpointError, ConfigError

SHOWN = 3  # names in a message
FLOATS = "take those in floats from which they were made"


def load_weights(backbone: nn.Module, content: Any, *, name: str, embedding_size: int) -> str:
    """Load what a file holds into the backbone that the config calls `name`, with embeddings of that size.

    content: a state dict, or a training checkpoint that holds one, with whatever a wrapper put before its
    names, and with a classifier's head beside it, which is left out.

    Returns where in the content it was, and what was left out. Raises CheckpointError, in a few lines, where
    it does not fit exactly.
    """
    state = backbone.state_dict()
    own = {plain_name(key): key for key in state}
    expected = {plain: state[key].shape for plain, key in own.items()}
    found = candidates(content, expected, embedding_size)
    fitting = [each for each in found if each.fits]
    if not fitting:
        raise CheckpointError(_no_fit(content, found, expected, name, embedding_size))
    best = _the_only(fitting, name)
    taken = {own[plain]: tensor for plain, tensor in best.state_dict().items()}
    for name_there, tensor in taken.items():
        if problem := _not_weights(tensor, state[name_there].dtype):
            raise CheckpointError(f"its tensor {plain_name(name_there)} {problem}")
    backbone.load_state_dict(taken, strict=False)  # counters of batches may be missing
    left = len(best.tensors) - len(best.state_dict())
    return f"{best}{f'; {left} of a head left out' if left else ''}"


def load_start(backbone: nn.Module, content: Any, *, name: str, embedding_size: int) -> str:
    """As `load_weights`; a model of timm also takes its own weights alone, and has a new embedding layer."""
    try:
        return load_weights(backbone, content, name=name, embedding_size=embedding_size)
    except CheckpointError:
        if not isinstance(backbone, TimmBackbone):
            raise
        own = backbone.model.state_dict()
        expected = {key: tensor.shape for key, tensor in own.items()}
        found = candidates(content, expected, embedding_size)
        if not found or not found[0].matched:
            raise
    best = _the_only([each for each in found if each.matched == found[0].matched], name)
    for key, tensor in best.tensors.items():
        if problem := _not_weights(tensor, own[key].dtype if key in own else tensor.dtype):
            raise CheckpointError(f"its tensor {key} {problem}")
    backbone.load_pretrained(best.tensors)
    return f"{best}; they are timm's, and the embedding layer is new"


def _the_only(fitting: list[Candidate], name: str) -> Candidate:
    """The first of them. Raises CheckpointError where another one has other numbers."""
    best, *others = fitting
    differing = [each for each in others if not same_tensors(best, each)]
    if differing:
        listed = "; ".join(map(str, (best, *differing)))
        raise CheckpointError(
            f"several different networks in it fit {name} ({listed}): save the one that you want alone, with "
            "torch.save"
        )
    return best


def _not_weights(tensor: torch.Tensor, dtype: torch.dtype) -> str:
    """Why a tensor gives no numbers to one of another type and the same shape; empty where it does."""
    if not dtype.is_floating_point:
        return ""
    if not tensor.is_floating_point():
        kind = str(tensor.dtype).removeprefix("torch.")
        return f"is of type {kind}, where the network has floats, as quantised weights are: {FLOATS}"
    numbers = tensor.detach().to(dtype)
    if bool(numbers.isfinite().all()):
        return ""
    bad = int((~numbers.isfinite()).sum())
    return (
        f"has {bad} of {numbers.numel()} numbers that are NaN or infinite: take weights from before the "
        "training diverged, or save them anew in a wider type"
    )


def _no_fit(
    content: Any,
    found: list[Candidate],
    expected: Mapping[str, torch.Size],
    name: str,
    embedding_size: int,
) -> str:
    if quantised := _quantised(content):
        return f"it holds quantised weights ({quantised}), which are not loaded: {FLOATS}"
    fits = _known_that_fits(content, name, embedding_size)
    if not found or not found[0].matched + len(found[0].differing):
        return _nothing_alike(content, expected, name, fits)
    best = found[0]
    lines = [f"it does not fit {name}: {_cause(best, fits)}"]
    lines.append(f"compared was {best}: of {len(expected)} tensors of {name} it has {best.matched}")
    if best.missing:
        lines.append(f"{len(best.missing)} are missing: {_some(best.missing)}")
    if best.differing:
        shapes = (f"{n} {[*best.tensors[n].shape]} and not {[*expected[n]]}" for n in best.differing)
        lines.append(f"{len(best.differing)} have another shape: {_some(shapes)}")
    if best.without_place:
        lines.append(f"{len(best.without_place)} have no place in {name}: {_some(best.without_place)}")
    return "\n  ".join(lines)


def _nothing_alike(content: Any, expected: Mapping[str, torch.Size], name: str, fits: str | None) -> str:
    if isinstance(content, StandIn):
        return f"it is a whole module ({content.name}), which is code and is not loaded: {RESAVE}"
    tensors = _tensor_names(content)
    if not tensors:
        holds = ""
        if isinstance(content, Mapping):
            modules = [value for value in content.values() if isinstance(value, StandIn)]
            if modules:
                return f"it holds a whole object ({modules[0].name}) and no state dict: {RESAVE}"
            holds = f", only {_some(map(str, content))}" if content else ""
        return f"there is no state dict in it{holds}: {RESAVE}"
    what = f"it fits {fits}; set backbone.name to it" if fits else "look at backbone.name"
    return (
        f"it is of another network than {name}: none of the names is the same; {what}\n"
        f"  the file has {len(tensors)} tensors: {_some(tensors)}\n"
        f"  {name} has {len(expected)}: {_some(expected)}"
    )


def _cause(best: Candidate, fits: str | None) -> str:
    """The likely cause, and what to set. fits: another backbone of ours that it fits."""
    if fits:
        return f"it fits {fits}; set backbone.name to it"
    sizes = Counter(
        best.tensors[key].shape[0]
        for key in best.differing
        if best.tensors[key].dim() and best.expected[key][:1] == (best.embedding_size,)
    )
    other_size = len(sizes) == 1 and best.embedding_size not in sizes
    if other_size and sizes.total() == len(best.differing) and not best.missing:
        return f"its embeddings have {next(iter(sizes))} numbers; set backbone.embedding_size to that"
    if best.differing and not best.missing:
        return (
            "another image size, number of channels or option; look at data.image_size, data.channels, "
            "backbone.embedding_size and backbone.options"
        )
    if best.missing and best.without_place:
        return "it is of a network with other layers; look at backbone.name and backbone.options"
    if best.missing:
        return "it is of a smaller network, or only a part of one"
    return "it is of a larger network; look at backbone.name and backbone.options"


def _known_that_fits(content: Any, name: str, embedding_size: int) -> str | None:
    """The name of another backbone of ours that the file fits as it is."""
    for other in BACKBONES:
        if other == name:
            continue
        try:
            with torch.device("meta"):
                built = build_backbone(other, embedding_size=embedding_size)
        except ConfigError:  # one that has no such size
            continue
        shapes = {key: tensor.shape for key, tensor in built.state_dict().items()}
        if any(each.fits for each in candidates(content, shapes, embedding_size)):
            return other
    return None


def _quantised(content: Any, where: tuple[str, ...] = ()) -> str:
    """The name of a quantised tensor in a file's content, alone or packed; empty where there is none."""
    parts = content.items() if isinstance(content, Mapping) and len(where) <= DEPTH else ()
    for key, value in parts:
        name = (*where, str(key))
        packed = value if isinstance(value, list | tuple) else (value,)
        if any(isinstance(each, torch.Tensor) and each.is_quantized for each in packed):
            return repr(".".join(name))[1:-1][:100]
        if found := _quantised(value, name):
            return found
    return ""


def _tensor_names(content: Any) -> list[str]:
    if not isinstance(content, Mapping):
        return []
    names = [str(key) for key, value in content.items() if isinstance(value, torch.Tensor)]
    return names or [name for value in content.values() for name in _tensor_names(value)]


def _some(names: Iterable[str]) -> str:
    """The first few, each on one short line whatever a file calls them."""
    listed = [name if name.isprintable() and len(name) < 100 else repr(name)[:100] for name in names]
    return ", ".join(listed[:SHOWN]) + (", ..." if len(listed) > SHOWN else "")
