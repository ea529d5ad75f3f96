"""An image folder, one folder per class, as a labelled source."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partialfc.data.images.codec import SUFFIXES
from partialfc.data.sources.folder_listing import Listing, list_folder
from partialfc.data.sources.keys import as_key
from partialfc.data.sources.labelled import Remark
from partialfc.data.sources.opened_file import state_of_path
from partialfc.errors import DataError

log = logging.getLogger(__name__)


class FolderSource:
    """`path/class name/image.jpg` (the codec's SUFFIXES in any case); ids follow the sorted folder names.

    A class is a folder `class_depth` levels below `path`, with the images in folders within it; from 2 on its
    name is `a/b`. With 0 it is each folder that holds images itself, on whatever level. An image above the
    class folders is an error. What is no image, what notebooks, file managers and archivers leave behind, and
    classes without images are counted in warnings.

    `classes`, which an earlier run had as `FolderSource(...).classes`, keeps that run's ids; a folder that it
    does not list is an error. File names are kept in memory: beyond some millions of images, pack the folder
    to RecordIO (partialfc.data.sources.pack).
    """

    classes: list[str]  # names in the order of their ids
    empty_classes: int

    def __init__(
        self, path: str | Path, classes: Sequence[str] | None = None, *, class_depth: int = 1
    ) -> None:
        if class_depth < 0:
            raise ValueError(f"class_depth is {class_depth}: it must be 0 (any level) or more")
        self.path = Path(path)
        self.class_depth = class_depth
        found = list_folder(self.path, class_depth=class_depth)
        _require_classes(found, self.path, class_depth)
        self.classes = sorted(found.classes) if classes is None else _known(classes, found, self.path)
        self.num_classes = len(self.classes)
        self.skipped, self.unread, self.deeper = found.skipped, found.unread, found.deeper

        self._names: list[str] = []
        ends: list[int] = []
        for name in self.classes:
            self._names += sorted(found.classes.get(name, ()))
            ends.append(len(self._names))
        self._ends = np.array(ends)
        self.empty_classes = int((np.diff(self._ends, prepend=0) == 0).sum())
        if not self._names:
            raise DataError(
                f"{self.path}: no class folder holds an image ({', '.join(SUFFIXES)}){_also(found)}"
            )
        self._warn()

    def __len__(self) -> int:
        return len(self._names)

    @property
    def origin(self) -> str:
        return str(self.path)

    @property
    def least_classes(self) -> int:
        return self.num_classes

    @property
    def remarks(self) -> list[Remark]:
        """What lies in the folder and is not taken, and whether its classes are on another level."""
        found = []
        if self.skipped:
            found.append(Remark(f"skipped: {counted(self.skipped)}"))
        if self.unread:
            says = f"images of a kind that is not read: {counted(self.unread)}"
            found.append(Remark(says, "convert those to JPEG or PNG, or move them away"))
        if self.deeper == len(self):
            deeper = (
                f"if those within are the classes, set data.class_depth to {self.class_depth + 1}, or to 0 "
                "where they are on different levels"
            )
            says = "no image lies in a class folder itself, all in folders within one"
            found.append(Remark(says, deeper))
        elif self.deeper:
            found.append(Remark(f"{self.deeper:,} of them in folders within a class folder"))
        return found

    def read(self, index: int) -> tuple[bytes, int]:
        """The encoded image and its class id."""
        label, path = self.class_id(index), self._path(index)
        try:
            return path.read_bytes(), label
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from error

    def name(self, index: int) -> str:
        """For messages: the image's path."""
        return str(self._path(index))

    def key(self, index: int) -> str:
        """The image's path below the folder, with `/` between its parts."""
        return as_key(f"{self.classes[self.class_id(index)]}/{self._names[index]}")

    def each_key(self) -> Iterator[str]:
        """The key of each image in order."""
        start = 0
        for name, end in zip(self.classes, self._ends.tolist(), strict=True):
            folder = as_key(name)
            for place in range(start, end):
                yield f"{folder}/{as_key(self._names[place])}"
            start = end

    def state(self, index: int) -> str:
        """Of the image's own file."""
        return state_of_path(self._path(index))

    def _path(self, index: int) -> Path:
        return self.path / self.classes[self.class_id(index)] / self._names[index]

    def class_id(self, index: int) -> int:
        """The class of an image, without reading it."""
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} of {self.path}: it has {len(self)} images")
        return int(np.searchsorted(self._ends, index, side="right"))

    def class_ids(self) -> NDArray[np.signedinteger]:
        """[n], the class of each image."""
        return np.repeat(np.arange(self.num_classes, dtype=np.int32), np.diff(self._ends, prepend=0))

    def _warn(self) -> None:
        """One warning each: of what was skipped, of images in deeper folders, of classes without images."""
        if self.skipped:
            log.warning(
                "%s: skipped %d files and folders that are no images: %s; rename what should count",
                self.path,
                self.skipped.total(),
                counted(self.skipped),
            )
        if self.unread:
            log.warning(
                "%s: %d images are of a kind that is not read: %s; convert them to JPEG or PNG",
                self.path,
                self.unread.total(),
                counted(self.unread),
            )
        if self.deeper:
            log.warning(
                "%s: %d of %d images lie in folders within a class folder, and count as that class's "
                "(class_depth is %d)",
                self.path,
                self.deeper,
                len(self),
                self.class_depth,
            )
        if self.empty_classes:
            sizes = np.diff(self._ends, prepend=0)
            log.warning(
                "%s: %d of %d classes have no image, such as %r",
                self.path,
                self.empty_classes,
                self.num_classes,
                self.classes[int(sizes.argmin())],
            )


def counted(kinds: Mapping[str, int]) -> str:
    """`5 x ._*, 1 x .DS_Store`: the commonest first, and how many kinds follow."""
    common = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))[:6]
    shown = ", ".join(f"{count} x {kind}" for kind, count in common)
    return shown + (f" and {len(kinds) - len(common)} other kinds" if len(kinds) > len(common) else "")


def _require_classes(found: Listing, path: Path, class_depth: int) -> None:
    if found.above:
        lower = "" if class_depth <= 1 else f", or lower class_depth, which is {class_depth}"
        raise DataError(
            f"{path / min(found.above)}: lies outside a class folder ({len(found.above)} in all); "
            f"move it into one{lower}"
        )
    if not found.classes:
        levels = "<class name>" if class_depth <= 1 else "/".join(["<folder>"] * class_depth)
        raise DataError(f"{path}: has no class folder; images go to {path}/{levels}/{_also(found)}")


def _also(found: Listing) -> str:
    """What there is instead of images."""
    kinds = found.skipped + found.unread
    return f"; skipped: {counted(kinds)}" if kinds else ""


def _known(classes: Sequence[str], found: Listing, path: Path) -> list[str]:
    known = set(classes)
    if len(known) != len(classes):
        twice = Counter(classes).most_common(1)[0][0]
        raise ValueError(f"classes names {twice!r} twice: each name has one id")
    unknown = sorted(set(found.classes) - known)
    if unknown:
        raise DataError(
            f"{path / unknown[0]}: not among the {len(known)} known classes ({len(unknown)} such folders); "
            "the trained network knows only those, so move it away, or train anew in another run.dir"
        )
    return list(classes)
