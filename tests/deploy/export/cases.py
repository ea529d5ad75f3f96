"""Trained networks without a training: of each family a small one, with random statistics of its norms."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from partialfc.backbones import build_backbone
from partialfc.deploy.saved_network import SavedNetwork
from partialfc.deploy.trained_network import Trained
from partialfc.uncertainty import ProbabilisticEmbedding

D, SIZE = 24, 32
FAMILIES: dict[str, dict[str, Any]] = {
    "iresnet18": {},
    "mobilefacenet": {},
    "vargfacenet": {},
    "vit_tiny": {"patch_size": 8, "depth": 2, "patch_mask": 0.1},
    "convnet": {"widths": [8, 16]},
    "timm:test_resnet": {},
    "timm:test_vit": {},
}


def shaken(network: nn.Module, seed: int = 0) -> nn.Module:
    """With other weights, means and variances than those of a network that has seen nothing."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.randn(tensor.shape, generator=generator)
            tensor += 0.1 * noise.abs() if name.endswith("running_var") else 0.05 * noise
    return network


def trained(
    name: str = "convnet",
    *,
    channels: int = 3,
    probabilistic: bool = False,
    options: dict[str, Any] | None = None,
    size: int = SIZE,
) -> Trained:
    torch.manual_seed(0)
    given = FAMILIES.get(name, {}) if options is None else options
    sizes = {"embedding_size": D, "image_size": size, "channels": channels}
    backbone = shaken(build_backbone(name, **sizes, options=given)).eval()
    uncertain = ProbabilisticEmbedding(backbone, D).eval() if probabilistic else None
    saved = SavedNetwork(step=7, name=name, options=given, amp=None, channels_last=False, **sizes)
    return Trained(
        checkpoint=Path("runs/mine"),
        step=7,
        backbone=backbone,
        num_classes=20,
        probabilistic=uncertain,
        saved=saved,
        **sizes,
    )


def pixels(count: int = 3, *, channels: int = 3, seed: int = 5, size: int = SIZE) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, channels, size, size), dtype=torch.uint8, generator=generator)
