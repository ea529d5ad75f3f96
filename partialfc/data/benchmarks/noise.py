"""Noise lists: images of a benchmark that show somebody else, or nobody, and are left out."""

import logging
from pathlib import Path, PurePosixPath

import numpy as np

from partialfc.data.benchmarks.image_set import ImageSet
from partialfc.errors import DataError

log = logging.getLogger(__name__)


def without_noise(images: ImageSet, lists: list[Path]) -> ImageSet:
    """The images that no list names, in InsightFace's layout of `facescrub_noises.txt` and
    `megaface_noises.txt`: a line for each image, its file's name alone or with folders before it, or a
    number, a tab and this; lines that start with # are comments.

    An image is named by a line that its key is equal to or ends with, after a slash. Lines that name no image
    of this set are counted in the log: a list may be of the other set.

    Raises DataError for a list that cannot be read, and where no image is left.
    """
    if not lists:
        return images
    lines = {line for path in lists for line in _lines(path)}
    depths = {line.count("/") for line in lines}
    met = set()
    keep = np.ones(len(images), np.bool_)
    for number, key in enumerate(images.keys()):
        parts = PurePosixPath(key).parts
        for depth in depths:
            tail = "/".join(parts[-1 - depth :])
            if tail in lines:
                met.add(tail)
                keep[number] = False
    log.info(
        "%s: %d of %d images are left out by noise lists, %d of whose %d lines name one of them",
        images.origin, np.count_nonzero(~keep), len(images), len(met), len(lines),
    )  # fmt: skip
    return images.only(keep)


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    found = [line.strip() for line in text.splitlines()]
    return [line.rpartition("\t")[2].removeprefix("./") for line in found if line and line[0] != "#"]
