"""Some images of a source, to look at."""

from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from partialfc.data.sources.labelled import Labelled
from partialfc.errors import DataError


def choose_images(
    source: Labelled, *, count: int, seed: int, classes: Sequence[str] = ()
) -> NDArray[np.int64]:
    """The indices of `count` images at random, ascending; all of them where there are fewer.

    classes: names of classes, or ids where the source has no names; of no other classes are there any.
    DataError for a class that the source does not have, and where none of them has an image.
    """
    among = np.arange(len(source))
    if classes:
        wanted = sorted({_class_id(source, name) for name in classes})
        among = np.flatnonzero(np.isin(source.class_ids(), wanted))
    if not len(among):
        raise DataError(f"{source.origin}: {', '.join(classes)} have no image")
    if len(among) > count:
        among = np.random.default_rng(seed).choice(among, count, replace=False)
    return np.sort(among)


def _class_id(source: Labelled, name: str) -> int:
    names = source.classes
    if names is None:
        if name.isascii() and name.isdigit() and int(name) < source.num_classes:
            return int(name)
        raise DataError(
            f"{source.origin}: no class {name!r}; its classes have no names, but ids, "
            f"0..{source.num_classes - 1}"
        )
    if name not in names:
        near = get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"its names are such as {names[0]!r}"
        raise DataError(f"{source.origin}: no class {name!r}; {hint}")
    return names.index(name)
