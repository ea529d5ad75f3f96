"""Where labelled images come from: which source reads a path."""

from collections.abc import Sequence
from pathlib import Path

from partialfc.data.sources.folder import FolderSource
from partialfc.data.sources.insightface import RecordSource
from partialfc.data.sources.keys import select
from partialfc.data.sources.labelled import Labelled as Labelled
from partialfc.data.sources.labelled import Source as Source
from partialfc.data.sources.leftovers import leftover_kind
from partialfc.data.sources.selected import Selected
from partialfc.errors import DataError


def open_source(
    path: str | Path,
    *,
    classes: Sequence[str] | None = None,
    class_depth: int = 1,
    only: Path | None = None,
    leave_out: Path | None = None,
) -> Labelled:
    """The images of a `.rec` file, or of a folder of class folders.

    only, leave_out: files with the key of an image a line, to take no others, or all others; classes without
    an image then have no id, and the ids no gaps (keys.py, selected.py). classes: the class names that an
    earlier run had (`.classes`), whose ids are kept; a `.rec` that is taken whole has its ids in its records.
    class_depth: FolderSource's. Raises DataError where the path or one of the files cannot be used.
    """
    if only is None and leave_out is None:
        return _opened(Path(path), classes, class_depth)
    source = _opened(Path(path), None, class_depth)
    return Selected(source, select(source, only, leave_out), classes=classes)


def _opened(path: Path, classes: Sequence[str] | None, class_depth: int) -> Labelled:
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
