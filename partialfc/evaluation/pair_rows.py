"""The embeddings of a pair set: each image once, and one of each video."""

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import torch

from partialfc.data.pairs.files import PairSet, VideoPairs, require_images
from partialfc.distributed.together import together
from partialfc.evaluation.embedder import Embedder


@dataclass(frozen=True, eq=False)
class PairRows:
    """rows [M, D] of the distinct images or videos, and of each pair the two, pairs [P, 2]."""

    rows: np.ndarray
    pairs: np.ndarray

    @property
    def both(self) -> np.ndarray:
        """[2P, D]: rows 2i and 2i + 1 are those of pair i."""
        rows: np.ndarray = self.rows[self.pairs.reshape(-1)]
        return rows

    def of_each(self, values: np.ndarray) -> np.ndarray:
        """What is given for both sides of each pair, [P, 2], for each row, [M]."""
        found = np.empty(len(self.rows), values.dtype)
        found[self.pairs] = values
        return found


def pair_rows(embedder: Embedder, pairs: PairSet | VideoPairs) -> PairRows:
    """The rows of a pair set, the same on every rank; collective.

    An image that is in several pairs is embedded once. A video's row is the mean of its frames' embeddings,
    each of norm 1.

    Raises ImageError, on every rank, where one of them has an image that cannot be decoded.
    """
    if isinstance(pairs, VideoPairs):
        return PairRows(_video_rows(embedder, pairs), pairs.videos)
    numbers: dict[Hashable, int] = {}
    where = np.array([numbers.setdefault(image, len(numbers)) for image in pairs.images], np.int64)
    first = np.unique(where, return_index=True)[1].tolist()
    rows = embedder.rows([*numbers], name=lambda index: f"image {first[index]} (pair {first[index] // 2})")  # type: ignore[list-item]
    return PairRows(rows, where.reshape(-1, 2))


def require_own_images(embedder: Embedder, pairs: PairSet) -> None:
    """Each rank looks at its part of the images; collective.

    Raises ImageError, on every rank, that names all that do not decode of the first rank that has some.
    """
    with together(embedder.world):
        require_images(pairs, max_pixels=embedder.max_pixels, part=embedder.part(len(pairs.images)))


def _video_rows(embedder: Embedder, pairs: VideoPairs) -> np.ndarray:
    """[V, D]: summed on each rank over its own frames, so that no rank holds those of all."""
    own = torch.nn.functional.normalize(embedder.own(pairs.frames).double())
    lengths = torch.from_numpy(np.diff(pairs.starts))
    part = embedder.part(len(pairs.frames))
    video = torch.repeat_interleave(torch.arange(len(lengths)), lengths)[part.start : part.stop]
    sums = torch.zeros(len(lengths), embedder.width, dtype=torch.float64).index_add(0, video, own)
    total = embedder.world.all_reduce_sum(sums.to(embedder.device)).cpu()
    means: np.ndarray = (total / lengths[:, None]).numpy()
    return means
