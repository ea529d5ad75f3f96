"""Checkpoints that any number of ranks can read: save, load, reshard, and what is kept.

May import `distributed`, `files`, `unpickling` and `errors`.
"""

from partialfc.checkpoint.folder import (
    STATE,
    CheckpointFolder,
    Tensors,
    find_checkpoint,
    load_replicated,
    read_state,
)

__all__ = ["STATE", "CheckpointFolder", "Tensors", "find_checkpoint", "load_replicated", "read_state"]
