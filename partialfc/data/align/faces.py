"""Faces that were found in a photo, and which of them are cropped."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from partialfc.data.align.template import Points
from partialfc.data.images.codec import Pixels

Several = Literal["largest", "centre", "all", "error"]
NoFace = Literal["skip", "centre", "error"]


@dataclass(frozen=True, slots=True)
class Face:
    """landmarks [5, 2] in pixels of the upright photo; score: how sure its finder is, where it says so."""

    landmarks: Points
    score: float | None = None


class Finder(Protocol):
    """Finds faces, from a file of landmarks or by a network. Picklable, for worker processes."""

    def __call__(self, photo: str, pixels: Pixels) -> list[Face]:
        """The faces of a photo: its path below the folder of photos, and uint8 [H, W, 3], upright."""
        ...


def chosen(faces: Sequence[Face], several: Several, *, height: int, width: int) -> list[Face]:
    """Of at least one face in a photo of this size those that are cropped: one or all, none for "error".

    "largest": the one whose landmarks span most. "centre": the one nearest to the middle of the photo.
    """
    if several == "all" or len(faces) == 1:
        return list(faces)
    if several == "error":
        return []
    middle = np.array([width - 1, height - 1]) / 2
    if several == "centre":
        return [min(faces, key=lambda face: float(((face.landmarks.mean(axis=0) - middle) ** 2).sum()))]
    return [max(faces, key=lambda face: float(face.landmarks.var(axis=0).sum()))]
