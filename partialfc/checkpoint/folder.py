"""The folder of a run's checkpoints: each is written under another name and renamed once it is whole.

run/checkpoints/step-00001200/   one checkpoint
run/checkpoints/latest           the name of the newest one, moved last
run/checkpoints/best             the name of the best one
"""

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from partialfc.checkpoint.checksums import check_checkpoint
from partialfc.checkpoint.kept import superseded, tried_in_order
from partialfc.checkpoint.state import STATE
from partialfc.checkpoint.store import read_checkpoint, write_checkpoint
from partialfc.checkpoint.tensors import Tensors
from partialfc.distributed.world import World
from partialfc.errors import CheckpointError
from partialfc.files import put_in_place, write_whole

log = logging.getLogger(__name__)


class CheckpointFolder:
    """The checkpoints of one run. Collective, to be called on every rank: save, load and newest_whole."""

    def __init__(self, path: Path, world: World) -> None:
        self.path = path
        self.world = world

    def save(self, step: int, tensors: Tensors, state: Mapping[str, Any], *, num_classes: int) -> Path:
        """Write a checkpoint, then let `latest` name it; a crash at any moment leaves the last one whole."""
        final = self.path_of(step)
        partial = final.with_suffix(".partial")
        if self.world.rank == 0:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        self.world.barrier()
        write_checkpoint(partial, tensors, state, self.world, num_classes=num_classes)
        if self.world.rank == 0:
            put_in_place(partial, final)  # which is there already if a resumed run does a step again
            write_whole(self.path / "latest", final.name)
        self.world.barrier()
        return final

    def path_of(self, step: int) -> Path:
        """The folder of a step's checkpoint."""
        return self.path / f"step-{step:08d}"

    def mark_best(self, checkpoint: Path) -> None:
        """Let `best` name the checkpoint, so that it is kept."""
        if self.world.rank == 0:
            write_whole(self.path / "best", checkpoint.name)

    def prune(self, keep_last: int) -> None:
        """Delete all but the newest `keep_last` and the best, and what an interrupted save left behind."""
        if self.world.rank != 0:
            return
        for old in superseded(self._names(), keep_last=keep_last, best=_pointer(self.path / "best")):
            shutil.rmtree(self.path / old, ignore_errors=True)
        for leftover in (*self.path.glob("step-*.partial"), *self.path.glob(".step-*.old")):
            shutil.rmtree(leftover, ignore_errors=True)

    def newest_whole(self) -> Path | None:
        """The newest undamaged checkpoint, or None if there is none at all; the log names damaged ones.

        Raises CheckpointError where every checkpoint is damaged.
        """
        # Every rank takes rank 0's list: on a network file system another rank's may be older.
        names = tried_in_order(self._names(), latest=_pointer(self.path / "latest"))
        candidates = self.world.gather_texts("\n".join(names))[0].splitlines()
        for candidate in (self.path / name for name in candidates):
            try:
                check_checkpoint(candidate, self.world)
            except CheckpointError as error:
                if self.world.rank == 0:
                    log.warning("%s; trying the checkpoint before it", error)
                continue
            return candidate
        if candidates:
            raise CheckpointError(f"{self.path}: none of the {len(candidates)} checkpoints is undamaged")
        return None

    def load(self, checkpoint: Path, tensors: Tensors, *, num_classes: int) -> tuple[dict[str, Any], Tensors]:
        """Read a checked checkpoint into the tensors; returns and raises what `read_checkpoint` does."""
        return read_checkpoint(checkpoint, tensors, self.world, num_classes=num_classes)

    def _names(self) -> list[str]:
        """The names of the finished checkpoints, in no order."""
        found = self.path.glob("step-*")
        return [path.name for path in found if path.suffix != ".partial" and path.is_dir()]


def find_checkpoint(path: Path) -> Path:
    """The checkpoint at `path`, or the newest undamaged one where that is a run or a folder of checkpoints.

    Raises CheckpointError where there is none, or it is damaged.
    """
    if (path / STATE).exists():
        check_checkpoint(path, World(None, 0, 1))
        return path
    for folder in (path, path / "checkpoints"):
        newest = CheckpointFolder(folder, World(None, 0, 1)).newest_whole()
        if newest is not None:
            return newest
    raise CheckpointError(f"{path}: neither a checkpoint nor a run with checkpoints")


def _pointer(path: Path) -> str | None:
    """The name that `latest` or `best` holds; None without that file."""
    try:
        return path.read_text().strip()
    except OSError:
        return None
