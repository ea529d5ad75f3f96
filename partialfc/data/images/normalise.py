"""Pixels as backbones take them."""

import torch


def normalise(images: torch.Tensor) -> torch.Tensor:
    """uint8 images [B, C, H, W], 0..255 -> float32 in [-1, 1], on their device and in their memory format."""
    if images.dtype != torch.uint8:
        raise ValueError(f"images are {images.dtype}: they must be torch.uint8, 0..255, not yet normalised")
    return images.to(torch.float32).div_(127.5).sub_(1.0)
