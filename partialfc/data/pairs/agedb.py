"""AgeDB's protocol: a MATLAB file for each span of years between the images of a pair, such as AgeDB-30's."""

from pathlib import Path
from typing import Any

import numpy as np

from partialfc.data.pairs.listed import Pair, PairList
from partialfc.errors import MissingExtraError, PairsError, installing

IMAGES = "03_Protocol_Images"  # the folder of its images, beside the file


def read_agedb(path: Path) -> PairList:
    """The pairs of `04_FINAL_protocol_30_years.mat` and the like, with its splits as folds.

    `splits` is a cell for each split, in it a struct with a cell [2, n], and in each of these a struct with
    an image's name and an age. A person is what stands before the first `_` of a name. Moschoglou et al.
    2017, "AgeDB: the first manually collected, in-the-wild age database"; the layout as InsightFace's
    `agedb2pack.py` reads it.

    Raises PairsError for another file, MissingExtraError without scipy.
    """
    pairs: list[Pair] = []
    for fold, split in enumerate(_splits(path)):
        images = _single(split, leaf=_is_pairs)
        if not _is_pairs(images):
            raise PairsError(f"{path}: split {fold + 1} is not two rows of images, as AgeDB has them")
        for first, second in zip(images[0], images[1], strict=True):
            names = [_name(path, len(pairs) + 1, image) for image in (first, second)]
            same = _person(names[0]) == _person(names[1])
            pairs.append(Pair(len(pairs) + 1, f"{names[0]}.jpg", f"{names[1]}.jpg", same, fold))
    return PairList(pairs, _person, unit="pair")


def _splits(path: Path) -> np.ndarray:
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise MissingExtraError(f"{path}: a MATLAB file needs scipy: {installing('mat')}") from error
    try:
        content = loadmat(path)
    except OSError as error:
        raise PairsError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # what scipy raises for a damaged file is of many kinds
        raise PairsError(f"{path}: cannot be read as a MATLAB file before version 7.3: {error}") from error
    found = content.get("splits")
    if not isinstance(found, np.ndarray) or not found.size or not found.dtype.hasobject:
        raise PairsError(f"{path}: has no cells `splits`, so it is not AgeDB's protocol")
    return found.reshape(-1)


def _is_pairs(value: Any) -> bool:
    cells = isinstance(value, np.ndarray) and value.ndim == 2 and len(value) == 2
    return cells and value.dtype.hasobject


def _single(value: Any, *, leaf: Any = lambda value: False) -> Any:
    """What lies in cells of one element and in structs, whose first field it is."""
    while not leaf(value):
        if isinstance(value, np.void) and value.dtype.names:
            value = value[0]
        elif isinstance(value, np.ndarray) and value.size == 1:
            value = value.reshape(-1)[0]
        else:
            break
    return value


def _name(path: Path, number: int, image: Any) -> str:
    name = _single(image)
    if not isinstance(name, str) or "_" not in name:
        raise PairsError(
            f"{path}: pair {number}: {str(name)!r} must be an image's name, a person's and _ first"
        )
    return str(name)


def _person(name: str) -> str:
    return name.partition("_")[0]
