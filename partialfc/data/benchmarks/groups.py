"""Groups of images, such as by age or origin, as a file names them."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from partialfc.data.benchmarks.image_set import ImageSet
from partialfc.errors import DataError


def read_groups(path: Path, images: ImageSet) -> dict[str, npt.NDArray[np.bool_]]:
    """By name, in the order of the file, which images [n] are in each group.

    A line has an image's key, a tab and the group's name; blank lines and lines that start with # are
    skipped. An image may be in several groups, or in none. Raises DataError, with the line, for one without a
    tab or of a key that there is not.
    """
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    numbers = {key: number for number, key in enumerate(images.keys())}
    groups: dict[str, npt.NDArray[np.bool_]] = {}
    for place, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        key, tab, group = line.partition("\t")
        group = group.strip()
        if not tab or not group:
            raise DataError(f"{path}: line {place}: {line[:80]!r} must be an image's key, a tab and a group")
        if key not in numbers:
            raise DataError(
                f"{path}: line {place}: {images.origin} has no image {key!r}; its keys are such as "
                f"{images.key(0)!r}"
            )
        groups.setdefault(group, np.zeros(len(images), np.bool_))[numbers[key]] = True
    if not groups:
        raise DataError(f"{path}: names no group; write an image's key, a tab and a group's name a line")
    return groups
