"""The names of the classes of labelled images: those of an image folder, or those beside a `.rec`."""

from pathlib import Path

from partialfc.data.sources.folder import FolderSource
from partialfc.data.sources.source import Labelled

CLASS_NAMES = "classes.txt"


def class_names(source: Labelled) -> list[str] | None:
    """By class id; None for a `.rec` without a `classes.txt` beside it, or with one of another length.

    Where each line begins with the class id and a tab, as of the glyphs, the name is what follows.
    """
    if isinstance(source, FolderSource):
        return source.classes
    names = names_beside(source.path)
    if not names or len(names) != source.num_classes:
        return None
    if all(name.startswith(f"{index}\t") for index, name in enumerate(names)):
        return [name.partition("\t")[2] for name in names]
    return names


def names_beside(path: Path) -> list[str]:
    """The lines of the `classes.txt` beside a `.rec`, the class names by id; none without that file."""
    listing = path.with_name(CLASS_NAMES)
    if not listing.is_file():
        return []
    names = listing.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    return names if names[-1] else names[:-1]
