"""Image files without classes, as a source: those below a folder, or those that are named."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from partialfc.data.images.codec import SUFFIXES
from partialfc.data.sources.folder_listing import list_folder
from partialfc.data.sources.indexed import IndexedSource
from partialfc.data.sources.keys import as_key
from partialfc.data.sources.leftovers import leftover_kind
from partialfc.data.sources.numbering import Numbered
from partialfc.data.sources.opened_file import state_of_path
from partialfc.errors import DataError


class LooseSource(IndexedSource):
    """Image files of no class: all have the id 0.

    folder: what `files` and the keys are relative to; None: they are as they are given. Raises DataError for
    a file that is named twice.
    """

    def __init__(self, files: Sequence[str], *, origin: str, folder: Path | None = None) -> None:
        self._files = list(files)
        self._folder = Path() if folder is None else folder
        if len({*self._files}) < len(self._files):
            twice = next(each for each in self._files if self._files.count(each) > 1)
            raise DataError(f"{twice}: is named twice; name it once")
        super().__init__(origin, Numbered(np.zeros(len(self._files), np.int32), 1, None))

    def name(self, index: int) -> str:
        """For messages: the file's path."""
        return str(self._path(index))

    def key(self, index: int) -> str:
        """The file's path below the folder, or as it was given."""
        self.class_id(index)  # checks the index
        return as_key(self._files[index])

    def state(self, index: int) -> str:
        """Of the image's own file."""
        return state_of_path(self._path(index))

    def _image(self, index: int) -> bytes:
        path = self._path(index)
        try:
            return path.read_bytes()
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from error

    def _path(self, index: int) -> Path:
        self.class_id(index)  # checks the index
        return self._folder / self._files[index]


def loose_folder(folder: Path) -> LooseSource:
    """All images below a folder, at any depth, in the order of their paths. DataError where there is none."""
    found = list_folder(folder, class_depth=0)
    files = found.above + [f"{name}/{file}" for name, files in found.classes.items() for file in files]
    if not files:
        raise DataError(f"{folder}: holds no image ({', '.join(SUFFIXES)})")
    return LooseSource(sorted(files), origin=str(folder), folder=folder)


def is_image_file(path: str | Path) -> bool:
    """By its name, unless it is a folder."""
    return Path(path).suffix.lower() in SUFFIXES and not Path(path).is_dir()


def holds_images(folder: Path) -> bool:
    """Whether images lie in a folder itself, not in folders within it."""
    return any(is_image_file(entry) and not leftover_kind(entry.name) for entry in folder.iterdir())
