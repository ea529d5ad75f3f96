"""The centres of a checkpoint, read by class range, as they were at its step.

With unsampled="dense" rows that were not in the last steps owe them to their optimizer: they are saved as
they lie in memory, with a table of what is owed, and are paid here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from partialfc.checkpoint.rows import SavedRows
from partialfc.checkpoint.store import load_replicated
from partialfc.errors import CheckpointError
from partialfc.head.kernels.decay import DecayTable
from partialfc.head.kernels.elementwise import now
from partialfc.head.kernels.per_sample import owed_since
from partialfc.head.kernels.storage import Stored

WEIGHT, STEPS = "weight", "optimizer/row_step"
MOMENTUM, SCALES = "optimizer/momentum", "optimizer/momentum_scale"


class SavedCentres:
    """The centres of a checkpoint, `per_class` of them for each class; state: what its state.json holds."""

    def __init__(self, checkpoint: Path, state: Mapping[str, Any], *, embedding_size: int) -> None:
        self._checkpoint = checkpoint
        self._rows = SavedRows(checkpoint)
        shape = self._rows.shape(WEIGHT)
        if shape is None or len(shape) != 2:
            raise CheckpointError(f"{checkpoint} holds no centres")
        if shape[1] == 0 or shape[1] % embedding_size:
            raise CheckpointError(
                f"{checkpoint} is damaged: its centres have {shape[1]} numbers a class, and an embedding has "
                f"{embedding_size}"
            )
        self.per_class = shape[1] // embedding_size
        self._table = self._read_table(state)

    def read(self, start: int, stop: int) -> Tensor:
        """Classes start..stop -> their centres [stop - start, per_class · D], not normalised.

        In float64 where they are saved so, else in float32.
        """
        weight = self._rows.read(WEIGHT, start, stop)
        dtype = torch.promote_types(weight.dtype, torch.float32)  # that of the head's arithmetic
        velocity, owed = None, None
        if self._table is not None:
            velocity, owed = self._velocity(start, stop), self._owed(self._table, start, stop)
        rows, _ = now(Stored(weight), velocity, owed, None, dtype)
        return rows.to(dtype)

    def _read_table(self, state: Mapping[str, Any]) -> DecayTable | None:
        """What rows owe by the step that they were last touched in; None where they owe nothing."""
        products = load_replicated(self._checkpoint, "head_optimizer/").get("owed")
        if products is None or self._rows.shape(STEPS) is None:
            return None
        shared = state.get("head_optimizer")
        start = shared.get("owed_from") if isinstance(shared, Mapping) else None
        if not isinstance(start, int) or products.dim() != 2 or products.shape[1] != 4:
            raise CheckpointError(f"{self._checkpoint} is damaged: what its centres owe is incomplete")
        return DecayTable(start=start, products=products)

    def _velocity(self, start: int, stop: int) -> Stored | None:
        """The rows' momentum, if the optimizer had one."""
        if self._rows.shape(MOMENTUM) is None:
            return None
        scales = None if self._rows.shape(SCALES) is None else self._rows.read(SCALES, start, stop)
        return Stored(self._rows.read(MOMENTUM, start, stop), scales)

    def _owed(self, table: DecayTable, start: int, stop: int) -> Tensor:
        """What the rows owe [stop - start, 4]."""
        steps = self._rows.read(STEPS, start, stop).long()
        since = steps - table.start
        if len(since) and (int(since.min()) < 0 or int(since.max()) >= len(table)):
            raise CheckpointError(f"{self._checkpoint} is damaged: its centres owe steps that never were")
        return owed_since(steps, None, table.products, table.start, compiled=False)
