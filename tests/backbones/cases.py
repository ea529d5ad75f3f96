"""Small backbones of each family, and images for them."""

import torch
from torch import Tensor, nn

from partialfc.backbones import build_backbone

# One of each family: the others differ in their counts.
ALL = ["iresnet18", "mobilefacenet", "vargfacenet", "vit_tiny", "convnet"]
Shapes = dict[str, tuple[int, ...]]


def shapes(backbone: nn.Module) -> Shapes:
    return {name: tuple(value.shape) for name, value in backbone.state_dict().items()}


def small(name: str, *, image_size: int = 32, channels: int = 1, **options: object) -> nn.Module:
    torch.manual_seed(0)
    return build_backbone(name, embedding_size=24, image_size=image_size, channels=channels, options=options)


def images(batch: int = 2, *, image_size: int = 32, channels: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, channels, image_size, image_size, generator=generator)
