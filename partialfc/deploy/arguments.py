"""Checks of what a trained network is given; a ValueError names the argument, the value and the rule."""

import torch
from torch import Tensor

from partialfc.data.images.normalise import normalise
from partialfc.head.arguments import as_int


def check_images(
    images: object, shape: tuple[int, int, int], device: torch.device, dtype: torch.dtype
) -> Tensor:
    """uint8 pixels or floats in -1..1, [B, *shape] on `device` -> floats in -1..1 of `dtype`."""
    images = _tensor("images", images)
    if images.dim() != 4 or images.shape[1:] != shape:
        wanted = ", ".join(map(str, shape))
        raise ValueError(f"images.shape is {tuple(images.shape)}; it must be [B, {wanted}]")
    if images.device != device:
        raise ValueError(f"images.device is {images.device}; it must be the backbone's, {device}")
    if images.dtype == torch.uint8:
        return normalise(images).to(dtype)
    if not images.is_floating_point():
        raise ValueError(f"images.dtype is {images.dtype}; it must be uint8, 0..255, or floats in -1..1")
    images = images.to(dtype)
    largest = float(images.abs().max()) if images.numel() else 0.0
    if not largest <= 1.0:
        raise ValueError(
            f"images has values of size {largest:.6g}; floats must lie in -1..1, which is "
            "pixel / 127.5 - 1; or pass the pixels themselves, as uint8"
        )
    return images


def check_embeddings(embeddings: object, size: int) -> None:
    """Floats [n, size]."""
    embeddings = _tensor("embeddings", embeddings)
    if not embeddings.is_floating_point():
        raise ValueError(f"embeddings.dtype is {embeddings.dtype}; it must be a floating-point dtype")
    if embeddings.dim() != 2 or embeddings.shape[1] != size:
        raise ValueError(f"embeddings.shape is {tuple(embeddings.shape)}; it must be [n, {size}]")


def check_k(k: object, num_classes: int) -> int:
    """A whole number 1..num_classes, NumPy's too."""
    number = as_int(k)
    if number is None or not 1 <= number <= num_classes:
        raise ValueError(f"k is {k!r}; it must be 1..{num_classes}, the number of classes")
    return number


def check_classes(start: object, stop: object, num_classes: int) -> tuple[int, int]:
    """Two whole numbers, 0 <= start <= stop <= num_classes."""
    first, last = as_int(start), as_int(stop)
    for name, value, number in (("start", start, first), ("stop", stop, last)):
        if number is None:
            raise ValueError(f"{name} is {value!r}; it must be a whole number, 0..{num_classes}")
    assert first is not None
    assert last is not None
    if not 0 <= first <= last <= num_classes:
        raise ValueError(f"classes {first}..{last} are not among the {num_classes} there are")
    return first, last


def _tensor(name: str, value: object) -> Tensor:
    if not isinstance(value, Tensor):
        raise ValueError(
            f"{name} is a {type(value).__name__}; it must be a torch.Tensor: pass torch.as_tensor({name})"
        )
    return value
