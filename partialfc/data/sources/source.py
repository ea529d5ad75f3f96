"""Where labelled images come from: what every source can do, and which one reads a path."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from partialfc.data.sources.folder import FolderSource
from partialfc.data.sources.insightface import RecordSource
from partialfc.data.sources.leftovers import leftover_kind
from partialfc.errors import DataError


class Source(Protocol):
    """Labelled encoded images with random access; picklable, so that worker processes open their own."""

    num_classes: int

    def __len__(self) -> int: ...

    def read(self, index: int) -> tuple[bytes, int]:
        """The encoded image, such as a JPEG, and its class id; a file's may be beyond its num_classes."""
        ...

    def name(self, index: int) -> str:
        """For messages: "packed/train.rec record 17" or "images/cats/3.jpg"."""
        ...


Labelled = FolderSource | RecordSource  # sources of files, which give all class ids without reading an image


def open_source(path: str | Path, *, classes: Sequence[str] | None = None, class_depth: int = 1) -> Labelled:
    """RecordSource for a `.rec` file, FolderSource for a folder of class folders; else DataError.

    `classes` and `class_depth` are FolderSource's; a `.rec` has its class ids in its records.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: does not exist")
    if path.is_dir():
        records = sorted(file for file in path.glob("*.rec") if not leftover_kind(file.name))
        if records:
            raise DataError(
                f"{path}: holds RecordIO files, not class folders; name one of them, such as {records[0]}"
            )
        return FolderSource(path, classes, class_depth=class_depth)
    if class_depth != 1:
        raise DataError(
            f"{path}: class_depth is {class_depth}, but only image folders have one; leave it out"
        )
    if path.suffix == ".rec":
        return RecordSource(path)
    raise DataError(f"{path}: neither a .rec file nor a folder of class folders")
