"""The names of a run's classes."""

import json
from pathlib import Path

from partialfc.errors import CheckpointError

CLASSES = "classes.json"  # written by training/classes.py


def names_of_checkpoint(checkpoint: Path, *, num_classes: int) -> tuple[str, ...] | None:
    """As `read_class_names`, of the run that a checkpoint lies in; None where it was taken out of its run."""
    folder = checkpoint.resolve().parent
    return read_class_names(folder.parent, num_classes=num_classes) if folder.name == "checkpoints" else None


def read_class_names(run_dir: Path, *, num_classes: int) -> tuple[str, ...] | None:
    """The names in the order of the class ids, or None where the run has no such file.

    Raises CheckpointError where the file is damaged, or names more classes than there are.
    """
    path = run_dir / CLASSES
    try:
        names = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"{path} is damaged: it must hold a JSON list of class names")
    if len(names) > num_classes:
        raise CheckpointError(f"{path} names {len(names)} classes, but the checkpoint has {num_classes}")
    return tuple(names)
