"""Pixels as backbones take them."""

import torch


def normalise(
    images: torch.Tensor, *, memory_format: torch.memory_format = torch.preserve_format
) -> torch.Tensor:
    """uint8 images [B, C, H, W], 0..255 -> float32 in [-1, 1], on their device.

    memory_format: of the result; without it, that of the images. One copy puts them into it and makes them
    float32. With one channel too the strides are those of the format, where contiguous() would keep others.
    """
    if images.dtype != torch.uint8:
        raise ValueError(f"images are {images.dtype}: they must be torch.uint8, 0..255, not yet normalised")
    return images.to(torch.float32, memory_format=memory_format).div_(127.5).sub_(1.0)
