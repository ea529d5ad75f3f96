"""Checkpoints that any number of ranks can read: how they are saved, loaded, resharded, kept and found.

May import `distributed`, `files`, `unpickling` and `errors`.
"""

from partialfc.checkpoint.folder import CheckpointFolder
from partialfc.checkpoint.start import find_checkpoint, newest
from partialfc.checkpoint.state import STATE, read_state
from partialfc.checkpoint.store import load_replicated
from partialfc.checkpoint.tensors import Tensors

__all__ = [
    "STATE",
    "CheckpointFolder",
    "Tensors",
    "find_checkpoint",
    "load_replicated",
    "newest",
    "read_state",
]
