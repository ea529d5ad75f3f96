"""Where labelled images come from: what every source can do, and which one reads a path."""

from pathlib import Path
from typing import Protocol

from partialfc.data.sources.folder import FolderSource
from partialfc.data.sources.insightface import RecordSource
from partialfc.errors import DataError


class Source(Protocol):
    """Labelled encoded images with random access; picklable, so that worker processes open their own."""

    num_classes: int

    def __len__(self) -> int: ...

    def read(self, index: int) -> tuple[bytes, int]:
        """The encoded image (JPEG or PNG) and its class id in 0..num_classes-1."""
        ...

    def name(self, index: int) -> str:
        """For messages: "train.rec record 17" or "cats/3.jpg"."""
        ...


def open_source(path: str | Path) -> Source:
    """RecordSource for a `.rec` file, FolderSource for a folder of class folders; else DataError."""
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: does not exist")
    if path.is_dir():
        records = sorted(path.glob("*.rec"))
        if records:
            raise DataError(
                f"{path}: holds RecordIO files, not class folders; name one of them, such as {records[0]}"
            )
        return FolderSource(path)
    if path.suffix == ".rec":
        return RecordSource(path)
    raise DataError(f"{path}: neither a .rec file nor a folder of class folders")
