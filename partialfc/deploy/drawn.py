"""Some of a source's images, drawn at random, as a network gets them."""

import numpy as np

from partialfc.data.images.codec import Pixels, decode, resize
from partialfc.data.sources.checked_images import named
from partialfc.data.sources.labelled import Source
from partialfc.errors import ImageError


def drawn(source: Source, *, count: int, seed: int) -> list[int]:
    """The places of `count` images, or of all where there are fewer, in random order."""
    places: list[int] = np.random.default_rng(seed).permutation(len(source))[:count].tolist()
    return places


def pixels_at(source: Source, index: int, *, image_size: int, channels: int, max_pixels: int) -> Pixels:
    """uint8 [image_size, image_size, channels]. Raises ImageError, which names what cannot be decoded."""
    try:
        found = decode(source.read(index)[0], channels=channels, max_pixels=max_pixels)
    except ImageError as error:
        raise ImageError(named(source.name(index), error)) from error
    return resize(found, image_size)
