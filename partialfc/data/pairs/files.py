"""Verification pairs: InsightFace's `.bin` files, and plain lists of your own images."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from partialfc.data.images.codec import problem
from partialfc.data.pairs.bin_file import format_bin, parse_bin
from partialfc.data.pairs.identities import connected, fits, from_names
from partialfc.data.pairs.list_file import parse_list
from partialfc.data.sources.checked_images import listed
from partialfc.errors import ImageError, PairsError
from partialfc.files import replacing

LIST_SUFFIXES = (".txt", ".csv", ".tsv")


@dataclass(frozen=True, eq=False)
class PairSet:
    """P pairs of encoded images. `images`: 2P, such as JPEGs, 2i and 2i+1 form pair i; `same` bool [P].

    known [P, 2]: numbers of the identities on both sides of each pair, where the list says whom its images
    show.
    """

    images: list[bytes]
    same: np.ndarray
    known: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.same.dtype != np.bool_ or self.same.ndim != 1:
            raise PairsError(
                f"same has dtype {self.same.dtype} and shape {self.same.shape}: it must be bool [P], "
                "one flag a pair"
            )
        if len(self.images) != 2 * len(self.same):
            raise PairsError(
                f"{len(self.images)} images for {len(self.same)} flags: a pair has two images and one flag"
            )
        if not len(self.same):
            raise PairsError("no pairs: a verification set needs at least one")

    @cached_property
    def identities(self) -> np.ndarray:
        """[P, 2]: `known`, or else what `partialfc.data.pairs.identities.connected` makes of the images."""
        return connected(self.images, self.same) if self.known is None else self.known


def require_images(pairs: PairSet, *, max_pixels: int) -> None:
    """ImageError that names all images that do not decode, or that claim more than `max_pixels`."""
    distinct = {id(image): image for image in pairs.images}  # an image is usually part of several pairs
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda image: problem(image, max_pixels=max_pixels), distinct.values())
        problems = dict(zip(distinct, found, strict=True))
    bad = [
        f"image {index} (pair {index // 2}): {error}"
        for index, image in enumerate(pairs.images)
        if (error := problems[id(image)]) is not None
    ]
    if bad:
        raise ImageError(listed(bad, len(pairs.images)))


def read_pairs(path: str | Path) -> PairSet:
    """The pairs of a `.bin` (InsightFace's layout) or of a `.txt`, `.csv` or `.tsv` list.

    `.bin`: a pickle of `(2P encoded images, P flags)`, written by Python 2 or 3; nothing in it is run.
    List: a line `path_a path_b 1` for the same identity or `path_a path_b 0` for two, separated by tabs or
    commas (as in CSV, so that names may hold spaces) or else by blanks. Paths are relative to the list's
    folder; empty lines and lines that start with `#` are skipped. Where genuine pairs have both images in one
    folder, and impostor pairs in two, the folders are the identities.

    Raises PairsError, which names the file and, in a list, the line.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".bin", *LIST_SUFFIXES):
        raise PairsError(
            f"{path}: pairs are read from .bin (InsightFace's layout) or {', '.join(LIST_SUFFIXES)} files, "
            f"not {suffix or 'a name without a suffix'}"
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PairsError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        if suffix not in LIST_SUFFIXES:
            images, flags = parse_bin(data)
            return PairSet(images, np.array(flags, dtype=np.bool_))
        images, flags, folders = parse_list(data, path.parent)
        same = np.array(flags, dtype=np.bool_)
        by_folder = from_names(folders)
        return PairSet(images, same, by_folder if fits(by_folder, same) else None)
    except PairsError as error:
        raise PairsError(f"{path}: {error}") from error


def write_pairs(path: str | Path, pairs: PairSet) -> None:
    """Write InsightFace's `.bin` layout, whole or not at all. Equal pairs give equal bytes."""
    path = Path(path)
    data = format_bin(pairs.images, pairs.same.tolist())
    with replacing(path) as beside:
        beside.write_bytes(data)
