"""classes.json: which class id a run has given to each folder of an image folder, so that it keeps them."""

import json
from collections.abc import Sequence
from pathlib import Path

from partialfc.errors import CheckpointError
from partialfc.files import write_whole

CLASSES = "classes.json"


def known_classes(index: Path) -> list[str] | None:
    """The class names that the run has saved, in the order of their ids; None before it has."""
    if not index.exists():
        return None
    try:
        names = json.loads(index.read_text())
    except (OSError, ValueError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CheckpointError(
            f"{index} is damaged: it must hold a JSON list of class names; restore it, or start a new run.dir"
        )
    return names


def save_classes(index: Path, names: Sequence[str]) -> None:
    write_whole(index, json.dumps(names, indent=0, ensure_ascii=False))
