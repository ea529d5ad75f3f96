"""Pairs of images that were held out, small enough to be kept in one file."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from partialfc.data.images.codec import decode, encode_jpeg, problem
from partialfc.data.images.header import read_size
from partialfc.data.images.opencv import cv2
from partialfc.data.pairs.draw import make_pairs
from partialfc.data.pairs.files import PairSet
from partialfc.data.sources.labelled import Source
from partialfc.errors import DataError

log = logging.getLogger(__name__)

MOST_PAIRS = 12_000
LARGE = 4  # times the network's input: larger images are made smaller before they go into the file


@dataclass(eq=False)
class InMemory:
    """Encoded images with their classes, as a Source."""

    samples: list[tuple[bytes, int]]
    num_classes: int

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, index: int) -> tuple[bytes, int]:
        return self.samples[index]

    def name(self, index: int) -> str:
        return f"held-out image {index}"


def draw_pairs(
    source: Source, indices: Sequence[int], *, image_size: int, max_pixels: int, seed: int
) -> PairSet | None:
    """Up to MOST_PAIRS pairs of these images, half of them genuine; None where they make none of either kind.

    Images that cannot be decoded are left out, with a warning. Of large ones the file has copies whose
    shorter side is LARGE times `image_size`, that of the network's input.
    """
    samples = []
    for index in indices:
        try:
            data, label = source.read(index)
            if error := problem(data, max_pixels=max_pixels):
                raise error
        except DataError as error:
            log.warning("%s: left out of the pairs: %s", source.name(index), error)
            continue
        samples.append((_smaller(data, LARGE * image_size), label))
    labels = np.array([label for _, label in samples], np.int64)
    sizes = np.unique(labels, return_counts=True)[1]
    genuine = int((sizes * (sizes - 1) // 2).sum())
    impostor = len(labels) * (len(labels) - 1) // 2 - genuine
    half = min(MOST_PAIRS // 2, genuine, impostor)
    if half == 0:
        return None
    return make_pairs(InMemory(samples, int(labels.max()) + 1), pairs=2 * half, seed=seed)


def _smaller(data: bytes, side: int) -> bytes:
    height, width = read_size(data)
    if min(height, width) <= side:
        return data
    pixels = decode(data, max_pixels=height * width)
    factor = side / min(height, width)
    shape = max(1, round(width * factor)), max(1, round(height * factor))
    shrunk = cv2.resize(pixels, shape, interpolation=cv2.INTER_AREA)
    return encode_jpeg(np.ascontiguousarray(shrunk.astype(np.uint8)))
