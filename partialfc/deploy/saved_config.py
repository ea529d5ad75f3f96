"""The config that was saved with a checkpoint: a stranger may have written it, so any part may be missing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from partialfc.checkpoint.state import read_state


def saved_config(checkpoint: Path) -> Mapping[str, Any]:
    """Raises CheckpointError where the checkpoint's state cannot be read."""
    return section(read_state(checkpoint), "config")


def section(mapping: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A mapping within another one; an empty one where there is none."""
    found = mapping.get(name)
    return found if isinstance(found, Mapping) else {}
