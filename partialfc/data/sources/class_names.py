"""The names of the classes of a `.rec`: the `classes.txt` beside it."""

from pathlib import Path

CLASS_NAMES = "classes.txt"


def names_of_classes(path: Path, num_classes: int) -> list[str] | None:
    """By class id; None without a `classes.txt` beside the file, or with one of another length.

    Where each line begins with the class id and a tab, as of the glyphs, the name is what follows.
    """
    names = names_beside(path)
    if not names or len(names) != num_classes:
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
