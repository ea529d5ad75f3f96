"""What a loader's worker makes of encoded images: pixels, or checked images that are decoded elsewhere."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import torch

from partialfc.data.images.augmentation import Augment, Drawn, augment, draw
from partialfc.data.images.codec import Pixels, check, decode, resize
from partialfc.data.images.header import MAX_PIXELS
from partialfc.data.loading.position_random import PositionRandom
from partialfc.errors import ConfigError

Sample = TypeVar("Sample")
Content = TypeVar("Content", covariant=True)


class Transform(Protocol[Sample, Content]):
    """What is done to each image, and how a batch is made of the results. Picklable, for the workers."""

    def __call__(self, data: bytes, position: int) -> Sample:
        """An encoded image at a stream position; ImageError where it is damaged."""
        ...

    def collate(self, samples: Sequence[Sample]) -> Content:
        """One batch, of at least one sample."""
        ...


class ToPixels:
    """Decodes, resizes and augments: a batch is uint8 [B, C, image_size, image_size]."""

    def __init__(
        self, *, image_size: int, channels: int, augment: Augment, seed: int, max_pixels: int = MAX_PIXELS
    ) -> None:
        check_shape(image_size, channels)
        self._size = image_size
        self._channels = channels
        self._max_pixels = max_pixels
        self._options = augment
        self._random = PositionRandom(seed)

    def __call__(self, data: bytes, position: int) -> Pixels:
        pixels = resize(decode(data, channels=self._channels, max_pixels=self._max_pixels), self._size)
        return augment(pixels, self._random.at(position), self._options).transpose(2, 0, 1)

    def collate(self, samples: Sequence[Pixels]) -> torch.Tensor:
        return torch.from_numpy(np.stack(samples))


class EncodedImages(NamedTuple):
    """A batch of checked but still encoded images, and what was drawn for each.

    data uint8 [sum of sizes]; sizes int64 [B]; matrices float32 [B, 2, 3]: augmentation.Drawn's;
    coarse float32 [B, 2]: (height, width) to shrink to; colours float32 [B, 3]: brightness, contrast,
    saturation.
    """

    data: torch.Tensor
    sizes: torch.Tensor
    matrices: torch.Tensor
    coarse: torch.Tensor
    colours: torch.Tensor


class ToEncoded:
    """Checks as strictly as ToPixels and draws the same, but leaves decoding and augmenting to others."""

    def __init__(
        self, *, image_size: int, channels: int, augment: Augment, seed: int, max_pixels: int = MAX_PIXELS
    ) -> None:
        check_shape(image_size, channels)
        self._size = image_size
        self._max_pixels = max_pixels
        self._options = augment
        self._random = PositionRandom(seed)

    def __call__(self, data: bytes, position: int) -> tuple[bytes, Drawn]:
        check(data, max_pixels=self._max_pixels)
        return data, draw(self._random.at(position), self._options, height=self._size, width=self._size)

    def collate(self, samples: Sequence[tuple[bytes, Drawn]]) -> EncodedImages:
        images, drawn = zip(*samples, strict=True)
        return EncodedImages(
            data=torch.frombuffer(bytearray(b"".join(images)), dtype=torch.uint8),
            sizes=torch.tensor([len(image) for image in images]),
            matrices=torch.from_numpy(np.stack([each.matrix for each in drawn])).float(),
            coarse=torch.tensor([each.size for each in drawn], dtype=torch.float32),
            colours=torch.tensor([[each.brightness, each.contrast, each.saturation] for each in drawn]),
        )


def check_shape(image_size: int, channels: int) -> None:
    """ConfigError unless images of this size and number of channels can be made."""
    if image_size < 1:
        raise ConfigError(f"image_size is {image_size}: it must be 1 or more")
    if channels not in (1, 3):
        raise ConfigError(f"channels is {channels}: it must be 1 (grey) or 3 (RGB)")
