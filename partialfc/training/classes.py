"""classes.json: the names of a run's classes by id, by which an image folder keeps its first ids."""

import json
from pathlib import Path

from partialfc.data.sources.labelled import Labelled
from partialfc.errors import CheckpointError
from partialfc.files import write_whole

CLASSES = "classes.json"


def known_classes(run_dir: Path) -> list[str] | None:
    """The class names that the run has saved, in the order of their ids; None before it has saved any.

    Raises CheckpointError where the file is damaged.
    """
    index = run_dir / CLASSES
    if not index.exists():
        return None
    try:
        names = json.loads(index.read_text())
    except (OSError, ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CheckpointError(
            f"{index} is damaged: it must hold a JSON list of class names; restore it, or start a new run.dir"
        )
    return names


def save_classes(run_dir: Path, source: Labelled) -> None:
    """Save the names of the data's classes, if they have any, unless the run has saved its own before."""
    index = run_dir / CLASSES
    if index.exists() or (names := source.classes) is None:
        return
    try:
        text = json.dumps(names, indent=0, ensure_ascii=False)
        text.encode()
    except UnicodeEncodeError:  # names that are not UTF-8 on the disk
        text = json.dumps(names, indent=0)
    write_whole(index, text)
