"""Our head as a subject that can also be flushed, saved and resumed, as the trainer does these."""

import os
import time
from pathlib import Path

import torch
from memory import peak, reset_peak
from ours import Ours
from torch import Tensor, nn

from partialfc.checkpoint import CheckpointFolder, find_checkpoint
from partialfc.losses.weighted import WeightedLosses
from partialfc.training.loss_scale import LossScale
from partialfc.training.objectives.classification import Classification
from partialfc.training.run_state import RunState

EVERY = 997  # one row of so many is compared after the resume


class Saved(Ours):
    """Each operation returns its seconds, and the largest resident memory during it, in bytes."""

    def flush(self) -> dict[str, float]:
        """Twice, a step between them: the first one compiles."""
        reset_peak()
        first = self._flush_once()
        self.step()
        return {"first_flush_s": first, "flush_s": self._flush_once(), "flush_peak": peak()}

    def save(self, folder: Path) -> dict[str, float]:
        state = self._run_state()
        reset_peak()
        started = time.perf_counter()
        path = self._checkpoints(folder).save(
            state.step, state.tensors(), {"world_size": 1, **state.values()}, num_classes=self.work.classes
        )
        seconds = time.perf_counter() - started
        size = sum(file.stat().st_size for file in path.iterdir())
        return {"save_s": seconds, "save_peak": peak(), "checkpoint_bytes": size}

    def resume(self, folder: Path) -> dict[str, float]:
        """Find the newest whole checkpoint, which reads all of it, then load it over zeroed rows."""
        state, checkpoints = self._run_state(), self._checkpoints(folder)
        tensors = state.tensors()
        before = {name: rows[::EVERY].clone() for name, rows in tensors.sharded.items()}
        for rows in tensors.sharded.values():
            rows.zero_()
        _forget_cached(folder)
        reset_peak()
        started = time.perf_counter()
        checkpoint = find_checkpoint(folder)
        checked = time.perf_counter()
        values, loaded = checkpoints.load(checkpoint, tensors, num_classes=self.work.classes)
        state.restore(values, loaded, backbone="linear", embedding_size=1)
        ended = time.perf_counter()
        result = {"verify_s": checked - started, "load_s": ended - checked, "load_peak": peak()}
        _check_equal(before, {name: rows[::EVERY] for name, rows in tensors.sharded.items()})
        return result

    def _flush_once(self) -> float:
        started = time.perf_counter()
        self.optimizer.flush()
        return time.perf_counter() - started

    def _run_state(self) -> RunState:
        backbone, device = nn.Linear(1, 1), torch.device("cpu")
        losses = WeightedLosses({}, {})
        objective = Classification(
            backbone, self.head, self.optimizer, losses, lambda values: self.head.margin
        )
        optimizer = torch.optim.SGD(backbone.parameters(), lr=0.1)
        loss_scale = LossScale(device, enabled=False)
        return RunState(objective, optimizer, loss_scale, device, step=self.head.step)

    def _checkpoints(self, folder: Path) -> CheckpointFolder:
        return CheckpointFolder(folder, self.head.world)


def _check_equal(before: dict[str, Tensor], after: dict[str, Tensor]) -> None:
    for name, rows in before.items():
        if not torch.equal(rows, after[name]):
            raise RuntimeError(f"{name} differs after the resume from what it was before")


def _forget_cached(folder: Path) -> None:
    """Make the next read of the files one from the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)
