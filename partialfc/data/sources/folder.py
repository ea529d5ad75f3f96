"""An image folder, one folder per class, as a labelled source."""

import logging
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from partialfc.errors import DataError

log = logging.getLogger(__name__)

_SUFFIXES = (".jpg", ".jpeg", ".png")


class FolderSource:
    """`path/class name/image.jpg` (jpg, jpeg, png in any case); ids follow the sorted folder names.

    `classes`, which an earlier run had as `FolderSource(...).classes`, keeps that run's ids; a folder that it
    does not list is an error. An image beside the class folders, or a folder within one, is an error too;
    other files and classes without images are counted in a warning. File names are kept in memory: beyond
    some millions of images, pack the folder to RecordIO (partialfc.data.sources.pack).
    """

    classes: list[str]  # names in the order of their ids

    def __init__(self, path: str | Path, classes: Sequence[str] | None = None) -> None:
        self.path = Path(path)
        folders, images, ignored = _list(self.path)
        if images:
            raise DataError(f"{self.path / images[0]}: lies outside a class folder; move it into one")
        if not folders:
            raise DataError(f"{self.path}: has no class folder; images go to {self.path}/<class name>/")
        self.classes = sorted(folders) if classes is None else _known(classes, folders, self.path)

        present = set(folders)
        self._names: list[str] = []
        ends: list[int] = []
        empty: list[str] = []
        for name in self.classes:
            before = len(self._names)
            if name in present:
                nested, images, other = _list(self.path / name)
                if nested:
                    raise DataError(
                        f"{self.path / name / nested[0]}: a folder inside a class folder; "
                        "classes are one level deep, so move its images up or make it a class of its own"
                    )
                self._names += sorted(images)
                ignored += [os.path.join(name, file) for file in other]
            if len(self._names) == before:
                empty.append(name)
            ends.append(len(self._names))
        self._ends = np.array(ends)
        self.num_classes = len(self.classes)
        if not self._names:
            raise DataError(f"{self.path}: no class folder holds an image ({', '.join(_SUFFIXES)})")
        if ignored:
            log.warning("%s: %d files are no images, such as %s", self.path, len(ignored), ignored[0])
        if empty:
            log.warning(
                "%s: %d of %d classes have no image, such as %r",
                self.path,
                len(empty),
                self.num_classes,
                empty[0],
            )

    def __len__(self) -> int:
        return len(self._names)

    def read(self, index: int) -> tuple[bytes, int]:
        """The encoded image and its class id."""
        label = self._class_id(index)
        path = self.path / self.classes[label] / self._names[index]
        try:
            return path.read_bytes(), label
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from error

    def name(self, index: int) -> str:
        return f"{self.classes[self._class_id(index)]}/{self._names[index]}"

    def _class_id(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} of {self.path}: it has {len(self)} images")
        return int(np.searchsorted(self._ends, index, side="right"))


def _list(path: Path) -> tuple[list[str], list[str], list[str]]:
    """The names of folders, images and other files in `path`, in no order."""
    folders, images, others = [], [], []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir():
                    folders.append(entry.name)
                elif entry.name.lower().endswith(_SUFFIXES):
                    images.append(entry.name)
                else:
                    others.append(entry.name)
    except OSError as error:
        raise DataError(f"{path}: cannot be listed: {error.strerror}") from error
    return folders, images, others


def _known(classes: Sequence[str], folders: list[str], path: Path) -> list[str]:
    known = set(classes)
    if len(known) != len(classes):
        twice = Counter(classes).most_common(1)[0][0]
        raise ValueError(f"classes names {twice!r} twice: each name has one id")
    unknown = sorted(set(folders) - known)
    if unknown:
        raise DataError(
            f"{path / unknown[0]}: not among the {len(known)} known classes ({len(unknown)} such folders); "
            "the trained network knows only those, so move it away, or train anew in another run.dir"
        )
    return list(classes)
