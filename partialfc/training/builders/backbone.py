"""The backbone: the network, its initial weights, and what its products run in."""

import logging
from pathlib import Path
from typing import Any

import torch
from torch import nn

from partialfc.backbones import build_backbone, checkpointed
from partialfc.backbones.weights.files import is_weight_file, read_weights
from partialfc.backbones.weights.load import load_start
from partialfc.checkpoint import find_checkpoint, load_replicated
from partialfc.config import BackboneConfig
from partialfc.distributed.device import has_bfloat16
from partialfc.errors import CheckpointError

log = logging.getLogger(__name__)


def warn_of_slow_amp(amp: str | None, device: torch.device) -> None:
    """Log it where the type of `train.amp` is one that this CPU has no fast instructions for."""
    fast = has_bfloat16(device)
    if device.type == "cpu" and (amp == "float16" or (amp == "bfloat16" and not fast)):
        log.warning(
            "train.amp is %s, which is slow on this CPU; set train.amp=%s",
            amp,
            "bfloat16" if fast else "null",
        )


def build_backbone_from(
    section: BackboneConfig,
    *,
    image_size: int,
    channels: int,
    device: torch.device,
    start: tuple[str, Path] | None = None,
) -> nn.Module:
    """The network on `device`, with the weights that it starts from or random ones.

    start: the key that says what it starts from, and its value; None: `backbone.weights` does. It takes
    images [B, channels, image_size, image_size].
    """
    backbone = build_backbone(
        section.name,
        embedding_size=section.embedding_size,
        image_size=image_size,
        channels=channels,
        options=section.options,
        options_key="backbone.options",
    )
    if start is None and section.weights is not None:
        start = "backbone.weights", section.weights
    if start is not None:
        start_from(backbone, section, start[1], key=start[0])
    if section.checkpointing:
        checkpointed(backbone, name=section.name)
    backbone.to(device)
    if section.channels_last:
        backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return backbone


def start_from(backbone: nn.Module, section: BackboneConfig, path: Path, *, key: str) -> None:
    """Load what `key` of the config names: a file, or the folder of a run or checkpoint.

    Raises CheckpointError, which names the key, where it fails.
    """
    found: Any = None
    try:
        if not is_weight_file(path):
            found = load_replicated(find_checkpoint(path), "backbone/")
    except CheckpointError as error:  # which names the path
        raise CheckpointError(f"{key}: {error}") from error
    try:
        found = read_weights(path) if found is None else found
        taken = load_start(backbone, found, name=section.name, embedding_size=section.embedding_size)
    except CheckpointError as error:
        raise CheckpointError(f"{key}: {path}: {error}") from error
    log.info("%s: %s: taken from %s", key, path, taken)
