"""What was computed from a run's checkpoint and its data for the page: plain arrays, and images as pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from partialfc.evaluation.bootstrap import Interval
from partialfc.report.tiles import Pixels


@dataclass(frozen=True, eq=False)
class HardPair:
    """Pair number `index` of a set, from 0, and its score; None for an image that is not shown."""

    index: int
    score: float
    first: Pixels | None
    second: Pixels | None


@dataclass(frozen=True, eq=False)
class HardPairs:
    """Of a set at a step: the impostor pairs of the highest scores, and the genuine pairs of the lowest."""

    name: str
    step: int
    threshold: float
    false_accepts: Sequence[HardPair]
    false_rejects: Sequence[HardPair]
    accepted: int  # all impostor pairs at or above the threshold
    rejected: int  # all genuine pairs below it


@dataclass(frozen=True, eq=False)
class EmbeddingMap:
    """Some images of a set: places [n, 2] on the map, the identity [n] of each, what each is called, [n].

    axes: the labels of the two axes. thumbnails: of the images, or none.
    """

    name: str
    step: int
    axes: tuple[str, str]
    places: np.ndarray
    identities: np.ndarray
    names: Sequence[str]
    thumbnails: Sequence[Pixels] = ()


@dataclass(frozen=True)
class SizeBin:
    """Classes of `least` to `most` training images: how many of the images that were looked at have their own
    centre nearest.
    """

    least: int
    most: int
    classes: int  # that there are
    images: int  # that were looked at
    accuracy: float
    interval: Interval | None


@dataclass(frozen=True, eq=False)
class Looks:
    """classes: by class size, rising. left_out: what is not here, and why, each a sentence."""

    pairs: Sequence[HardPairs] = ()
    maps: Sequence[EmbeddingMap] = ()
    classes: Sequence[SizeBin] = ()
    step: int | None = None  # of the checkpoint that was looked at
    left_out: Sequence[str] = ()
