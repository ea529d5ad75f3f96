"""The backbone: the network, its initial weights, and what its products run in."""

from pathlib import Path

import torch
from torch import nn

from partialfc.backbones import build_backbone
from partialfc.config import Config
from partialfc.distributed.device import has_bfloat16
from partialfc.errors import CheckpointError


def autocast_dtype(config: Config, device: torch.device) -> torch.dtype | None:
    """What `train.amp` makes of the backbone's products on the device; None: they stay float32."""
    wanted = config.train.amp == "bfloat16" or (config.train.amp == "auto" and has_bfloat16(device))
    return torch.bfloat16 if wanted else None


def build_backbone_from(config: Config, *, with_weights: bool = True) -> nn.Module:
    """The config's backbone; with_weights=False leaves out `backbone.weights`, for who has better ones."""
    section = config.backbone
    backbone = build_backbone(
        section.name,
        embedding_size=section.embedding_size,
        image_size=config.data.image_size,
        channels=config.data.channels,
        **section.options,
    )
    if with_weights and section.weights is not None:
        load_weights(backbone, section.weights)
    return backbone


def load_weights(backbone: nn.Module, path: Path) -> None:
    """A state dict file (torch.save) into the backbone, read without running its pickle."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        backbone.load_state_dict(state)
    except Exception as error:
        raise CheckpointError(f"backbone.weights {path}: {error}") from error
