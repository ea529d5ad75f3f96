"""A split as two files of keys, which `data.only` takes."""

import logging
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partialfc.data.sources.keys import write_keys
from partialfc.data.sources.labelled import Labelled
from partialfc.errors import DataError

log = logging.getLogger(__name__)

TRAIN, HELD_OUT = "train.txt", "held-out.txt"


@dataclass(frozen=True, slots=True)
class Part:
    """A file of keys that was written, and of how many images and classes."""

    path: Path
    images: int
    classes: int


def require_no_split(folder: Path, *, overwrite: bool) -> None:
    """DataError where `folder` has a split already, which is not to be replaced."""
    for name in (TRAIN, HELD_OUT):
        if (folder / name).exists() and not overwrite:
            raise DataError(
                f"{folder / name}: exists already; name another folder, or replace it with --overwrite"
            )


def write_split(
    source: Labelled, labels: NDArray[np.signedinteger], held: NDArray[np.bool_], folder: Path
) -> tuple[Part, Part]:
    """Write the keys of the images that are not held out, and of those that are, into `folder`.

    Images whose label is -1, of damaged records, are in neither; a warning counts them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    damaged = labels < 0
    if damaged.any():
        log.warning(
            "%s: %d records are damaged, and in neither part: see `partialfc data check`",
            source.origin,
            damaged.sum(),
        )
    return _write(source, labels, ~held & ~damaged, folder / TRAIN), _write(
        source, labels, held & ~damaged, folder / HELD_OUT
    )


def _write(
    source: Labelled, labels: NDArray[np.signedinteger], chosen: NDArray[np.bool_], path: Path
) -> Part:
    write_keys(path, ((key, "") for key in compress(source.each_key(), chosen)))
    return Part(path, int(chosen.sum()), len(np.unique(labels[chosen])))
