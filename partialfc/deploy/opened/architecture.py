"""Which network a file of weights is of, told from the names and the shapes of its tensors."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from partialfc.backbones import BACKBONES, build_backbone
from partialfc.backbones.weights.fit import candidates
from partialfc.deploy.saved_network import SavedNetwork
from partialfc.errors import CheckpointError, ConfigError

SIDES = (112, 224, 160, 128, 96, 64, 56, 48, 32, 28, 24)  # of images; the first that fits is taken
CHANNELS = (3, 1)


def network_of(content: Any, *, backbone: str | None = None) -> SavedNetwork:
    """The network that builds what a file's content fits: name, embedding size, image size and channels.

    backbone: its name, where it is known. Image sizes that give a network of the same shape, such as 97 to
    112 pixels for an iresnet, are the first of SIDES.

    Raises CheckpointError where no backbone of this package fits, ConfigError for a name that there is not.
    """
    if backbone is not None and backbone not in BACKBONES:
        raise ConfigError(
            f"--backbone is {backbone!r}; for a file of weights it must be one of {', '.join(BACKBONES)}"
        )
    names = [backbone] if backbone is not None else _alike(content)
    for name in names:
        for side in SIDES:
            for channels in CHANNELS:
                for size in _sizes(content):
                    shapes = _shapes(name, embedding_size=size, image_size=side, channels=channels)
                    if shapes and any(each.fits for each in candidates(content, shapes, size)):
                        return _saved(name, size, side, channels)
    what = f"does not fit {backbone}" if backbone else f"fits none of {', '.join(BACKBONES)}"
    raise CheckpointError(
        f"its tensors tell of no network that is known here: it {what}, as built without options, for images "
        f"of {', '.join(map(str, SIDES))} pixels: for another network take its .onnx, or begin a run from it "
        "with backbone.weights"
    )


def _alike(content: Any) -> Iterator[str]:
    """Backbones whose tensors have the same names, in one size that most have."""
    for name in BACKBONES:
        shapes = _shapes(name, embedding_size=512, image_size=112, channels=3)
        found = candidates(content, shapes, 512)[:1] if shapes else []
        if found and not found[0].missing and not found[0].without_place:
            yield name


def _shapes(name: str, *, embedding_size: int, image_size: int, channels: int) -> Mapping[str, torch.Size]:
    """Of a backbone's tensors, none of which is made; empty where it has no such size."""
    try:
        with torch.device("meta"):
            built = build_backbone(
                name, embedding_size=embedding_size, image_size=image_size, channels=channels
            )
        return {key: value.shape for key, value in built.state_dict().items()}
    except ConfigError:
        return {}


def _sizes(content: Any) -> list[int]:
    """Numbers of embeddings that a file's content may be of: how long its last layer's vectors are."""
    tensors = [t for t in _tensors(content) if t.dim() == 1 and len(t) > 1]
    return [*dict.fromkeys(len(t) for t in reversed(tensors[-8:]))]


def _tensors(content: Any) -> Iterable[Tensor]:
    if isinstance(content, Mapping):
        for value in content.values():
            yield from (value,) if isinstance(value, Tensor) else _tensors(value)


def _saved(name: str, embedding_size: int, image_size: int, channels: int) -> SavedNetwork:
    return SavedNetwork(
        step=0,
        name=name,
        options={},
        embedding_size=embedding_size,
        image_size=image_size,
        channels=channels,
        amp=None,
        channels_last=False,
    )
