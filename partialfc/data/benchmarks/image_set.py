"""Encoded images, each of an identity that has a name."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from partialfc.data.images.codec import SUFFIXES
from partialfc.data.sources.labelled import Labelled
from partialfc.data.sources.leftovers import leftover_kind
from partialfc.errors import DataError

NOBODY = -1  # the identity of a distractor


@dataclass(frozen=True, eq=False)
class ImageSet(Sequence[bytes]):
    """n encoded images, read when they are asked for.

    origin: where they are, for messages. labels [n]: the place in `identities` of each one's identity, or
    NOBODY. named: whether the identities have names of their own, or only numbers. read, key: of the image
    of a number, its bytes and its name within the set, such as "cats/3.jpg"; name: for messages.
    """

    origin: str
    labels: npt.NDArray[np.int64]
    identities: Sequence[str]
    named: bool
    read: Callable[[int], bytes]
    key: Callable[[int], str]
    name: Callable[[int], str]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self.read(number) for number in range(len(self))[index]]
        return self.read(index)

    def keys(self) -> Iterator[str]:
        """The name of each image within the set."""
        return map(self.key, range(len(self)))

    def only(self, chosen: npt.NDArray[np.bool_]) -> "ImageSet":
        """The images that are chosen [n], in their order. DataError where none is."""
        kept = np.flatnonzero(chosen)
        if not len(kept):
            raise DataError(f"{self.origin}: none of its {len(self)} images is left")
        return replace(
            self,
            labels=self.labels[kept],
            read=lambda number: self.read(int(kept[number])),
            key=lambda number: self.key(int(kept[number])),
            name=lambda number: self.name(int(kept[number])),
        )

    def strangers(self) -> "ImageSet":
        """The same images as distractors: of nobody."""
        return replace(self, labels=np.full(len(self), NOBODY, np.int64))


def of_source(source: Labelled) -> ImageSet:
    """All images of a labelled source; an identity is a class."""
    names = source.classes
    return ImageSet(
        source.origin,
        source.class_ids().astype(np.int64),
        _Numbers(source.num_classes) if names is None else names,
        names is not None,
        lambda number: source.read(number)[0],
        source.key,
        source.name,
    )


def of_files(folder: Path, files: Sequence[str], identities: Iterable[str]) -> ImageSet:
    """Image files [n], relative to `folder`, and the name of each one's identity."""
    places: dict[str, int] = {}
    labels = np.array([places.setdefault(each, len(places)) for each in identities], np.int64)
    return ImageSet(
        str(folder),
        labels,
        list(places),
        True,
        lambda number: read_file(folder / files[number]),
        lambda number: files[number],
        lambda number: str(folder / files[number]),
    )


def files_below(folder: Path) -> list[str]:
    """The images below a folder at any depth, relative to it, sorted. DataError where there is none."""
    found = [
        str(file.relative_to(folder))
        for file in folder.rglob("*")
        if file.suffix.lower() in SUFFIXES and not leftover_kind(file.name)
    ]
    if not found:
        raise DataError(f"{folder}: holds no image ({', '.join(SUFFIXES)})")
    return sorted(found)


def read_file(path: Path) -> bytes:
    """Its bytes; DataError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def joined(*sets: ImageSet) -> list[npt.NDArray[np.int64]]:
    """The labels [n] of each set by one numbering, in which equal names are one identity.

    Raises DataError where some sets have names and others only numbers.
    """
    known = [each for each in sets if (each.labels != NOBODY).any()]
    if len({each.named for each in known}) == 2:
        named = next(each for each in known if each.named)
        other = next(each for each in known if not each.named)
        raise DataError(
            f"{named.origin} has names of its classes and {other.origin} only numbers, so that no class of "
            "one can be found in the other: write a classes.txt beside the .rec, a name a line"
        )
    places: dict[str, int] = {}
    found = []
    for each in sets:
        used, inverse = np.unique(each.labels, return_inverse=True)
        new = [
            NOBODY if old == NOBODY else places.setdefault(each.identities[old], len(places))
            for old in used.tolist()
        ]
        found.append(np.array(new, np.int64)[inverse])
    return found


class _Numbers(Sequence[str]):
    """The names of identities that have none: their numbers."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        return str(index)
