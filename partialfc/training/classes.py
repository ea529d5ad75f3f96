"""classes.json: the class id that a run gave to each folder of an image folder, so that it keeps them."""

import json
from collections.abc import Sequence
from pathlib import Path

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


def save_classes(run_dir: Path, names: Sequence[str]) -> None:
    """Save the class names in the order of their ids, unless the run has saved its own before."""
    index = run_dir / CLASSES
    if not index.exists():
        write_whole(index, json.dumps(names, indent=0, ensure_ascii=False))
