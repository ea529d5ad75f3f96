"""Encoded images to embeddings."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import nn

from partialfc.data.images.codec import decode, resize
from partialfc.data.images.header import MAX_PIXELS
from partialfc.data.images.normalise import normalise
from partialfc.errors import ImageError

Flip = Literal["none", "sum", "concat"]
BATCHES = 16  # of a part


def embed(
    backbone: nn.Module,
    images: Sequence[bytes],
    *,
    part: range | None = None,
    image_size: int,
    channels: int,
    batch_size: int = 256,
    device: torch.device,
    flip: Flip = "none",
    max_pixels: int = MAX_PIXELS,
    amp: torch.dtype | None = None,
    name: Callable[[int], str] | None = None,
) -> torch.Tensor:
    """n encoded images, or only the `part` of them -> embeddings [n, D], float32 on the CPU, not normalised.

    Each image is decoded, resized to `image_size` and put into [-1, 1]; the backbone, which must be on
    `device`, runs in evaluation mode (each module's training flag is restored afterwards) and without
    gradients, under autocast to `amp` if given, else in the type of its parameters. flip: "sum" adds the
    embedding of the mirrored image, the two as the backbone gives them, as InsightFace does; "concat" sets it
    behind the image's own, as SphereFace does (Liu et al. 2017, section 4.1), so that embeddings have 2D
    numbers. For a cosine, normalise the result.

    Raises ImageError, which names an image that cannot be decoded or is larger than `max_pixels`, by `name`
    or else by its index, and ValueError for no images or another `flip`.
    """
    part = range(len(images)) if part is None else part
    if not part:
        raise ValueError("there are no images to embed: give at least one")
    if flip not in get_args(Flip):
        raise ValueError(f"flip is {flip!r}: it must be one of {', '.join(get_args(Flip))}")
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}: it must be at least 1")

    def pixels(index: int) -> np.ndarray:
        try:
            return resize(decode(images[index], channels=channels, max_pixels=max_pixels), image_size)
        except ImageError as error:
            called = f"image {index} of {len(images)}" if name is None else name(index)
            raise ImageError(f"{called}: {error}") from error

    outputs = []
    with ThreadPoolExecutor() as pool, _evaluating(backbone), torch.inference_mode():
        for start in range(0, len(part), batch_size):
            batch = np.stack(list(pool.map(pixels, part[start : start + batch_size])))
            outputs.append(rows_of(backbone, batch, device=device, flip=flip, amp=amp))
    return torch.cat(outputs)  # outside inference mode, so that callers may compute gradients with it


def embed_in_parts(
    backbone: nn.Module, images: Sequence[bytes], *, batch_size: int = 256, **how: Any
) -> Iterator[tuple[range, torch.Tensor]]:
    """As `embed`, BATCHES batches after the other: which images, and their embeddings, never all at once."""
    step = BATCHES * batch_size
    for start in range(0, len(images), step):
        part = range(start, min(start + step, len(images)))
        yield part, embed(backbone, images, part=part, batch_size=batch_size, **how)


def rows_of(
    backbone: nn.Module,
    images: np.ndarray,
    *,
    device: torch.device,
    flip: Flip = "none",
    amp: torch.dtype | None = None,
) -> torch.Tensor:
    """uint8 images [n, H, W, C] -> the rows that the backbone gives, float32 on the CPU, as `embed` has them.

    The backbone is in evaluation mode already.
    """
    batch = torch.from_numpy(images).to(device).permute(0, 3, 1, 2)
    batch = normalise(batch, memory_format=torch.contiguous_format)
    if amp is None:
        batch = batch.to(_dtype_of(backbone))
    with torch.autocast(device.type, dtype=amp, enabled=amp is not None):
        output: torch.Tensor = backbone(batch)
        if flip != "none":
            both = output.float(), backbone(batch.flip(-1)).float()
            output = torch.cat(both, 1) if flip == "concat" else both[0] + both[1]
    return output.float().cpu()


def _dtype_of(backbone: nn.Module) -> torch.dtype:
    """What it takes: float32, unless its parameters were made of another type, such as bfloat16."""
    first = next((each for each in backbone.parameters() if each.is_floating_point()), None)
    return torch.float32 if first is None else first.dtype


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards the mode that each submodule had, as some are frozen on purpose."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
